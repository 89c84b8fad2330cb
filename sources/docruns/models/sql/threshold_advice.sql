-- From which score on a field can pass without a review.
-- grain: processor_name, field, score, target (field null: all fields of the processor)
-- threshold: the lowest score for which the share that is right, among leaves with at least this score, reaches the target
-- with the lower end of its 95 % interval; null where no score does. passed: leaves with at least this score. slipped:
-- of them, wrong ones. accuracy: of the leaves that passed. verdict: see score_health; a threshold of a score that is not
-- reliable may not hold for the next documents.
WITH by_field AS MATERIALIZED (
    SELECT
        s.processor_name, s.field, s.score, s.value, count(*) AS n, count(*) FILTER (WHERE s.is_right) AS x
    FROM answers.scores s
    GROUP BY 1, 2, 3, 4
),
at_score AS (
    SELECT processor_name, field, score, value, n, x FROM by_field
    UNION ALL
    SELECT processor_name, CAST(NULL AS TEXT), score, value, CAST(sum(n) AS BIGINT), CAST(sum(x) AS BIGINT)
    FROM by_field
    GROUP BY 1, 3, 4
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
-- the lower end is below the share itself, so a share of 0.95 or less reaches no target
bounded AS MATERIALIZED (
    SELECT
        f.processor_name, f.field, f.score, f.value, f.passed, f.x,
        answers.wilson_low(f.x / f.passed, f.passed / h.design_effect) AS accuracy_low
    FROM from_score f
    JOIN health h
        ON h.processor_name = f.processor_name AND h.field IS NOT DISTINCT FROM f.field AND h.score = f.score
    WHERE f.x > 0.95 * f.passed
),
reached AS (
    SELECT
        processor_name, field, score,
        min(CASE WHEN accuracy_low >= 0.95 THEN value END) AS at_1,
        min(CASE WHEN accuracy_low >= 0.98 THEN value END) AS at_2,
        min(CASE WHEN accuracy_low >= 0.99 THEN value END) AS at_3,
        min(CASE WHEN accuracy_low >= 0.995 THEN value END) AS at_4
    FROM bounded
    GROUP BY 1, 2, 3
),
chosen AS (
    SELECT
        h.processor_name, h.field, h.score, h.n, h.verdict, CAST(v.share AS DOUBLE) AS target,
        CASE v.number WHEN 1 THEN r.at_1 WHEN 2 THEN r.at_2 WHEN 3 THEN r.at_3 ELSE r.at_4 END AS threshold
    FROM health h
    CROSS JOIN (VALUES (1, 0.95), (2, 0.98), (3, 0.99), (4, 0.995)) AS v (number, share)
    LEFT JOIN reached r
        ON r.processor_name = h.processor_name AND r.field IS NOT DISTINCT FROM h.field AND r.score = h.score
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
