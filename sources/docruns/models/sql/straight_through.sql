-- How many documents pass without a review if every leaf must have at least a score, and how many of them are right.
-- grain: processor_name, score, threshold
-- A document passes where each of its leaves that has the score has at least the threshold. It is right where the reviewer
-- has left every leaf as it was, and added none. The setting [answers] critical names the fields that count, by processor.
-- low, high: Wilson's 95 % interval of right_share.
WITH documents AS (
    SELECT s.processor_name, s.score, s.processor_run_id, min(s.value) AS lowest
    FROM answers.scores s
    WHERE answers.is_critical(s.processor_name, s.field)
    GROUP BY 1, 2, 3
),
outcomes AS (
    SELECT l.processor_run_id, bool_and(l.is_right) AS is_right
    FROM answers.leaves l
    WHERE l.is_reviewed AND answers.is_critical(l.processor_name, l.field)
    GROUP BY 1
),
steps AS (
    SELECT 'review_agent_score' AS score, CAST(t.threshold AS DOUBLE) AS threshold
    FROM (VALUES (1), (2), (3), (4), (5)) AS t (threshold)
    UNION ALL
    SELECT s.score, CAST(t.threshold AS DOUBLE)
    FROM (VALUES ('ocr_confidence'), ('logprobs_confidence'), ('confidence')) AS s (score)
    CROSS JOIN (VALUES (0.5), (0.6), (0.7), (0.8), (0.85), (0.9), (0.95), (0.98), (0.99), (0.995)) AS t (threshold)
),
counted AS (
    SELECT
        d.processor_name, d.score, t.threshold,
        count(*) AS documents,
        count(*) FILTER (WHERE d.lowest >= t.threshold) AS passed,
        count(*) FILTER (WHERE d.lowest >= t.threshold AND o.is_right) AS "right"
    FROM documents d
    JOIN outcomes o ON o.processor_run_id = d.processor_run_id
    JOIN steps t ON t.score = d.score
    GROUP BY 1, 2, 3
)
SELECT
    processor_name, score, threshold, documents, passed,
    passed / documents AS pass_share,
    "right",
    "right" / nullif(passed, 0) AS right_share,
    CASE WHEN passed > 0 THEN answers.wilson_low("right" / nullif(passed, 0), passed) END AS low,
    CASE WHEN passed > 0 THEN answers.wilson_high("right" / nullif(passed, 0), passed) END AS high
FROM counted
