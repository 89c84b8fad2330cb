-- How a processor's version did in one week (from Monday, UTC).
-- grain: processor_id, processor_version, week
-- mean_score: of all leaves, logprobs, else OCR, else the single one. accuracy: of reviewed leaves, null where none was.
-- previous_version: the version that the processor ran before this one first ran. change: accuracy of this version less
-- that of the previous one, over all weeks.
WITH weeks AS (
    SELECT
        l.processor_id, l.processor_name, l.processor_version,
        CAST(date_trunc('week', l.created_at AT TIME ZONE 'UTC') AS DATE) AS week,
        count(DISTINCT l.processor_run_id) AS documents, min(l.created_at) AS first_at,
        avg(coalesce(l.logprobs_confidence, l.ocr_confidence, l.confidence)) AS mean_score,
        count(*) FILTER (WHERE l.is_reviewed) AS leaves,
        avg(CASE WHEN l.is_reviewed THEN CASE WHEN l.is_right THEN 1.0 ELSE 0.0 END END) AS accuracy
    FROM answers.leaves l
    GROUP BY 1, 2, 3, 4
),
versions AS (
    SELECT
        processor_id, processor_version, min(first_at) AS first_at,
        sum(leaves * accuracy) / nullif(sum(leaves), 0) AS accuracy
    FROM weeks
    GROUP BY 1, 2
),
ordered AS (
    SELECT
        v.*,
        lag(v.processor_version) OVER (PARTITION BY v.processor_id ORDER BY v.first_at, v.processor_version) AS previous_version,
        v.accuracy
            - lag(v.accuracy) OVER (PARTITION BY v.processor_id ORDER BY v.first_at, v.processor_version) AS change
    FROM versions v
)
SELECT
    w.processor_id, w.processor_name, w.processor_version, w.week, w.documents, w.mean_score, w.accuracy,
    o.previous_version, o.change
FROM weeks w
JOIN ordered o
    ON o.processor_id IS NOT DISTINCT FROM w.processor_id AND o.processor_version IS NOT DISTINCT FROM w.processor_version
