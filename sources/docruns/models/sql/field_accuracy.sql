-- How often the model is right, by field. Only reviewed extractions count, and these are no random sample: coverage says
-- how many of the extractions were reviewed.
-- grain: processor_id, processor_version, field
-- extracted: leaves that the model gave. right: of them, those that the reviewer left. added: leaves that only the
-- reviewer gave. accuracy = right / (extracted + added). precision = right / extracted.
-- recall = right / (right + changed + added). accuracy_low, accuracy_high: Wilson's 95 % interval on n_effective, which is
-- the number of leaves divided by the design effect, because leaves of one document are alike (ratio estimator, at least
-- 1). documents_for_3_points: reviewed documents for an interval of 3 points to each side.
WITH per_document AS (
    SELECT
        processor_id, processor_name, processor_version, field, processor_run_id,
        count(*) AS n,
        count(*) FILTER (WHERE is_right) AS x,
        count(*) FILTER (WHERE edit_kind IS DISTINCT FROM 'added') AS extracted,
        count(*) FILTER (WHERE edit_kind = 'changed') AS changed,
        count(*) FILTER (WHERE edit_kind = 'removed') AS removed,
        count(*) FILTER (WHERE edit_kind = 'added') AS added
    FROM answers.leaves
    WHERE is_reviewed
    GROUP BY 1, 2, 3, 4, 5
),
totals AS (
    SELECT
        processor_id, processor_name, processor_version, field,
        count(*) AS documents, sum(n) AS n, sum(x) AS x, sum(extracted) AS extracted, sum(changed) AS changed,
        sum(removed) AS removed, sum(added) AS added, sum(n * n) AS nn, sum(n * x) AS nx, sum(x * x) AS xx
    FROM per_document
    GROUP BY 1, 2, 3, 4
),
formats AS (
    SELECT processor_id, processor_version, field, count(*) AS format_only
    FROM answers.edits
    WHERE edit_class = 'format'
    GROUP BY 1, 2, 3
),
effects AS (
    SELECT
        t.*,
        t.x / t.n AS accuracy,
        answers.design_effect(t.documents, t.n, t.x, t.nn, t.nx, t.xx) AS design_effect
    FROM totals t
),
seen AS (
    SELECT processor_id, processor_version, count(*) AS documents, count(*) FILTER (WHERE reviewed) AS reviewed
    FROM answers.documents
    WHERE source IS DISTINCT FROM 'STUDIO'
    GROUP BY 1, 2
)
SELECT
    e.processor_id,
    e.processor_name,
    e.processor_version,
    e.field,
    s.documents,
    e.documents AS reviewed,
    e.extracted,
    e.x AS "right",
    e.changed,
    e.removed,
    e.added,
    coalesce(f.format_only, 0) AS format_only,
    e.accuracy,
    answers.wilson_low(e.accuracy, e.n / e.design_effect) AS accuracy_low,
    answers.wilson_high(e.accuracy, e.n / e.design_effect) AS accuracy_high,
    e.n / e.design_effect AS n_effective,
    e.x / nullif(e.extracted, 0) AS "precision",
    e.x / nullif(e.x + e.changed + e.added, 0) AS recall,
    CAST(ceil(3.8416 * greatest(e.accuracy * (1 - e.accuracy), 0.0196) / 0.0009 * e.design_effect * e.documents / e.n)
        AS BIGINT) AS documents_for_3_points,
    s.reviewed / s.documents AS coverage
FROM effects e
JOIN seen s
    ON s.processor_id IS NOT DISTINCT FROM e.processor_id AND s.processor_version IS NOT DISTINCT FROM e.processor_version
LEFT JOIN formats f
    ON f.processor_id IS NOT DISTINCT FROM e.processor_id
    AND f.processor_version IS NOT DISTINCT FROM e.processor_version AND f.field = e.field
