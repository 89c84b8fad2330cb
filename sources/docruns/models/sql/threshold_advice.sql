-- From which score on a field can pass without a review.
-- grain: processor_name, field, score, target (field null: all fields of the processor)
-- threshold: the lowest score for which the share that is right, among leaves with at least this score, reaches the target
-- with the lower end of its 95 % interval; null where no score does. passed: leaves with at least this score. slipped:
-- of them, wrong ones. accuracy: of the leaves that passed. verdict: see score_health; a threshold of a score that is not
-- reliable may not hold for the next documents.
WITH at_score AS (
    SELECT
        s.processor_name, s.field, s.score, s.value, count(*) AS n, count(*) FILTER (WHERE s.is_right) AS x
    FROM answers.scores s
    GROUP BY GROUPING SETS ((s.processor_name, s.field, s.score, s.value), (s.processor_name, s.score, s.value))
),
from_score AS (
    SELECT
        processor_name, field, score, value,
        sum(n) OVER down AS passed,
        sum(x) OVER down AS x
    FROM at_score
    WINDOW down AS (PARTITION BY processor_name, field, score ORDER BY value DESC)
),
health AS MATERIALIZED (
    SELECT processor_name, field, score, n, verdict, design_effect
    FROM answers.score_health
),
bounded AS MATERIALIZED (
    SELECT
        f.*, h.n, h.verdict,
        answers.wilson_low(f.x / f.passed, f.passed / h.design_effect) AS accuracy_low
    FROM from_score f
    JOIN health h
        ON h.processor_name = f.processor_name AND h.field IS NOT DISTINCT FROM f.field AND h.score = f.score
),
targets AS (
    SELECT h.processor_name, h.field, h.score, h.n, h.verdict, CAST(v.share AS DOUBLE) AS target
    FROM health h CROSS JOIN (VALUES (0.95), (0.98), (0.99), (0.995)) AS v (share)
),
chosen AS (
    SELECT t.processor_name, t.field, t.score, t.target, t.n, t.verdict, min(b.value) AS threshold
    FROM targets t
    LEFT JOIN bounded b
        ON b.processor_name = t.processor_name AND b.field IS NOT DISTINCT FROM t.field AND b.score = t.score
        AND b.accuracy_low >= t.target
    GROUP BY 1, 2, 3, 4, 5, 6
)
SELECT
    c.processor_name,
    c.field,
    c.score,
    c.target,
    c.threshold,
    c.n,
    coalesce(b.passed, 0) AS passed,
    coalesce(b.passed, 0) / c.n AS pass_share,
    b.x / b.passed AS accuracy,
    b.accuracy_low,
    b.passed - b.x AS slipped,
    c.verdict
FROM chosen c
LEFT JOIN bounded b
    ON b.processor_name = c.processor_name AND b.field IS NOT DISTINCT FROM c.field AND b.score = c.score
    AND b.value = c.threshold
