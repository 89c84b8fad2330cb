-- How many documents pass without a review if every leaf must have at least a score, and how many of them are right.
-- grain: processor_name, score, threshold
-- A document passes where each of its leaves that has the score has at least the threshold. It is right where the reviewer
-- has left every leaf as it was, and added none. The setting [answers] critical names the fields that count, by processor.
-- low, high: Wilson's 95 % interval of right_share.
WITH documents AS (
    SELECT
        processor_name, processor_run_id, bool_and(is_right) AS is_right,
        min(CASE WHEN edit_kind IS DISTINCT FROM 'added' THEN ocr_confidence END) AS ocr_confidence,
        min(CASE WHEN edit_kind IS DISTINCT FROM 'added' THEN logprobs_confidence END) AS logprobs_confidence,
        min(CASE WHEN edit_kind IS DISTINCT FROM 'added' THEN review_agent_score END) AS review_agent_score,
        min(CASE WHEN edit_kind IS DISTINCT FROM 'added' THEN confidence END) AS confidence
    FROM answers.leaves
    WHERE is_reviewed AND answers.is_critical(processor_name, field)
    GROUP BY 1, 2
),
lowest AS (
    SELECT
        d.processor_name, s.score, d.is_right,
        CASE s.number
            WHEN 1 THEN d.ocr_confidence
            WHEN 2 THEN d.logprobs_confidence
            WHEN 3 THEN CAST(d.review_agent_score AS DOUBLE)
            ELSE d.confidence
        END AS lowest
    FROM documents d
    CROSS JOIN (
        VALUES (1, 'ocr_confidence'), (2, 'logprobs_confidence'), (3, 'review_agent_score'), (4, 'confidence')
    ) AS s (number, score)
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
        count(*) FILTER (WHERE d.lowest >= t.threshold AND d.is_right) AS "right"
    FROM lowest d
    JOIN steps t ON t.score = d.score
    WHERE d.lowest IS NOT NULL
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
