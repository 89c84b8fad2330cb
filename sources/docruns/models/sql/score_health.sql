-- Whether a score can be trusted, by field.
-- grain: processor_name, field, score (field null: all fields of the processor)
-- ece: the expected calibration error over ten bins, which compares the share that is right with the bin's mean score.
-- brier: the mean squared error. auroc: the chance that a wrong leaf has a lower score than a right one; null below 30
-- wrong leaves or 100 in all. low, high: Wilson's interval of share_right, the leaves divided by the design effect.
-- verdict: too_few, degenerate (fewer than three bins used), undiscriminating (auroc below 0.55), overconfident (ece above
-- 0.15, or a mean score above high), reliable. review_agent_score is no probability: it has neither ece nor brier.
WITH
-- n: leaves that have the score, x: of them right ones; of each of the four scores
by_field AS MATERIALIZED (
    SELECT
        processor_name, field, processor_run_id,
        count(ocr_confidence) AS n1, count(ocr_confidence) FILTER (WHERE is_right) AS x1,
        count(logprobs_confidence) AS n2, count(logprobs_confidence) FILTER (WHERE is_right) AS x2,
        count(review_agent_score) AS n3, count(review_agent_score) FILTER (WHERE is_right) AS x3,
        count(confidence) AS n4, count(confidence) FILTER (WHERE is_right) AS x4
    FROM answers.leaves
    WHERE is_reviewed AND edit_kind IS DISTINCT FROM 'added'
    GROUP BY 1, 2, 3
),
per_document AS (
    SELECT * FROM by_field
    UNION ALL
    SELECT
        processor_name, CAST(NULL AS TEXT), processor_run_id, sum(n1), sum(x1), sum(n2), sum(x2), sum(n3), sum(x3),
        sum(n4), sum(x4)
    FROM by_field
    GROUP BY 1, 3
),
counts AS (
    SELECT
        d.processor_name, d.field, s.score,
        CASE s.number WHEN 1 THEN n1 WHEN 2 THEN n2 WHEN 3 THEN n3 ELSE n4 END AS n,
        CASE s.number WHEN 1 THEN x1 WHEN 2 THEN x2 WHEN 3 THEN x3 ELSE x4 END AS x
    FROM per_document d
    CROSS JOIN (
        VALUES (1, 'ocr_confidence'), (2, 'logprobs_confidence'), (3, 'review_agent_score'), (4, 'confidence')
    ) AS s (number, score)
),
documents AS (
    SELECT
        processor_name, field, score, count(*) AS documents, sum(n * n) AS nn, sum(n * x) AS nx, sum(x * x) AS xx
    FROM counts
    WHERE n > 0
    GROUP BY 1, 2, 3
),
leaves_at AS MATERIALIZED (
    SELECT processor_name, field, score, value, count(*) AS n, count(*) FILTER (WHERE is_right) AS x
    FROM answers.scores
    GROUP BY 1, 2, 3, 4
),
at_score AS MATERIALIZED (
    SELECT processor_name, field, score, value, n, x FROM leaves_at
    UNION ALL
    SELECT processor_name, CAST(NULL AS TEXT), score, value, CAST(sum(n) AS BIGINT), CAST(sum(x) AS BIGINT)
    FROM leaves_at
    GROUP BY 1, 3, 4
),
bins AS (
    SELECT
        processor_name, field, score,
        CASE WHEN score = 'review_agent_score' THEN floor(value) ELSE least(floor(value * 10), 9) END AS bin,
        sum(n) AS n,
        abs(sum(n * value) - sum(x)) / sum(n) AS gap
    FROM at_score
    GROUP BY 1, 2, 3, 4
),
gaps AS (
    SELECT processor_name, field, score, count(*) AS bins_used, sum(n * gap) / sum(n) AS ece
    FROM bins
    GROUP BY 1, 2, 3
),
-- equal scores share the middle of their ranks
ranked AS (
    SELECT
        a.*,
        sum(n) OVER (PARTITION BY processor_name, field, score ORDER BY value) - n + (n + 1) / 2.0 AS middle
    FROM at_score a
),
ranks AS (
    SELECT
        processor_name, field, score, sum(n) AS n, sum(x) AS x, sum(x * middle) AS rank_sum,
        sum(n * value) / sum(n) AS mean_score,
        sum(x * (1 - value) * (1 - value) + (n - x) * value * value) / sum(n) AS brier
    FROM ranked
    GROUP BY 1, 2, 3
),
effects AS (
    SELECT
        r.processor_name, r.field, r.score, r.n, d.documents, r.n - r.x AS wrong, r.x / r.n AS share_right,
        r.mean_score, r.brier, g.ece, g.bins_used,
        CASE
            WHEN r.n >= 100 AND r.n - r.x >= 30 AND r.x > 0
            THEN (r.rank_sum - r.x * (r.x + 1) / 2.0) / (CAST(r.x AS DOUBLE) * (r.n - r.x))
        END AS auroc,
        answers.design_effect(d.documents, r.n, r.x, d.nn, d.nx, d.xx) AS design_effect
    FROM ranks r
    JOIN documents d
        ON d.processor_name = r.processor_name AND d.field IS NOT DISTINCT FROM r.field AND d.score = r.score
    JOIN gaps g
        ON g.processor_name = r.processor_name AND g.field IS NOT DISTINCT FROM r.field AND g.score = r.score
),
bounded AS (
    SELECT
        e.*,
        answers.wilson_low(share_right, n / design_effect) AS low,
        answers.wilson_high(share_right, n / design_effect) AS high,
        score = 'review_agent_score' AS is_grade
    FROM effects e
)
SELECT
    processor_name, field, score, n, documents, wrong, share_right, low, high, mean_score,
    CASE WHEN NOT is_grade THEN ece END AS ece,
    CASE WHEN NOT is_grade THEN brier END AS brier,
    auroc,
    bins_used,
    design_effect,
    CASE
        WHEN n < 100 OR wrong < 30 THEN 'too_few'
        WHEN bins_used < 3 THEN 'degenerate'
        WHEN auroc < 0.55 THEN 'undiscriminating'
        WHEN NOT is_grade AND (ece > 0.15 OR mean_score > high) THEN 'overconfident'
        ELSE 'reliable'
    END AS verdict
FROM bounded
