-- How often the model is right about the documents of evaluation sets, by field: accuracy without the bias of what was
-- reviewed.
-- grain: processor_id, processor_version, field
-- A document is found by the first five files of its item; its latest extraction by the set's processor counts, once a
-- version; try-outs in Studio are left out. Values are compared as numbers, dates and text; items of a list by their
-- place in the model's output.
-- accuracy_low, accuracy_high: as in field_accuracy.
WITH latest AS (
    SELECT
        i.id AS evaluation_item_id, r.id AS processor_run_id, r.processor_id,
        coalesce(r.processor_name, r.processor_id) AS processor_name, r.processor_version,
        row_number() OVER (PARTITION BY i.id, r.processor_version ORDER BY r.created_at DESC, r.id) AS place
    FROM src.evaluation_items i
    JOIN src.evaluation_sets s ON s.id = i.evaluation_set_id
    CROSS JOIN (VALUES (2), (4), (6), (8), (10)) AS part (number)
    JOIN src.run_files f
        ON f.run_kind = 'processor' AND f.file_id = split_part(CAST(i.file_ids AS TEXT), '"', part.number)
    JOIN src.processor_runs r ON r.id = f.run_id AND r.processor_id = s.processor_id
    WHERE i.deleted_at IS NULL AND s.deleted_at IS NULL AND r.type = 'EXTRACT' AND r.is_final
      AND r.status = 'PROCESSED' AND r.deleted_at IS NULL
      AND r.source IS DISTINCT FROM 'STUDIO'
),
given AS (
    SELECT
        l.evaluation_item_id, l.processor_run_id, f.field, coalesce(f.initial_path, f.path) AS path,
        coalesce(f.initial_json, f.value_json) AS json, f.value_number, f.initial_json IS NULL AS is_final_value
    FROM latest l
    JOIN src.fields f ON f.processor_run_id = l.processor_run_id
    JOIN src.processor_runs r ON r.id = l.processor_run_id
    WHERE l.place = 1 AND f.kind = 'leaf' AND (f.initial_json IS NOT NULL OR r.reviewed IS NOT TRUE)
),
cells AS (
    SELECT
        l.processor_id, l.processor_name, l.processor_version, l.processor_run_id,
        coalesce(e.field, g.field) AS field,
        g.path IS NOT NULL AS is_given,
        e.path IS NOT NULL AS is_expected,
        g.path IS NOT NULL AND e.path IS NOT NULL
            AND (g.json = e.value_json OR (g.is_final_value AND g.value_number = e.value_number)) AS is_right
    FROM latest l
    JOIN src.expected_fields e ON e.evaluation_item_id = l.evaluation_item_id AND e.kind = 'leaf' AND e.value_json IS NOT NULL
    LEFT JOIN given g ON g.processor_run_id = l.processor_run_id AND g.path = e.path
    WHERE l.place = 1
    UNION ALL
    SELECT
        l.processor_id, l.processor_name, l.processor_version, l.processor_run_id, g.field, TRUE, FALSE, FALSE
    FROM latest l
    JOIN given g ON g.processor_run_id = l.processor_run_id
    LEFT JOIN src.expected_fields e
        ON e.evaluation_item_id = l.evaluation_item_id AND e.kind = 'leaf' AND e.path = g.path
    WHERE l.place = 1 AND e.path IS NULL
),
per_document AS (
    SELECT
        processor_id, processor_name, processor_version, field, processor_run_id, count(*) AS n,
        count(*) FILTER (WHERE is_right) AS x, count(*) FILTER (WHERE is_given) AS extracted,
        count(*) FILTER (WHERE is_expected) AS expected
    FROM cells
    GROUP BY 1, 2, 3, 4, 5
),
totals AS (
    SELECT
        processor_id, processor_name, processor_version, field, count(*) AS documents, sum(n) AS n, sum(x) AS x,
        sum(extracted) AS extracted, sum(expected) AS expected, sum(n * n) AS nn, sum(n * x) AS nx, sum(x * x) AS xx
    FROM per_document
    GROUP BY 1, 2, 3, 4
)
SELECT
    processor_id, processor_name, processor_version, field, documents, extracted, expected, x AS "right",
    x / n AS accuracy,
    answers.wilson_low(x / n, n / answers.design_effect(documents, n, x, nn, nx, xx)) AS accuracy_low,
    answers.wilson_high(x / n, n / answers.design_effect(documents, n, x, nn, nx, xx)) AS accuracy_high,
    n / answers.design_effect(documents, n, x, nn, nx, xx) AS n_effective,
    x / nullif(extracted, 0) AS "precision",
    x / nullif(expected, 0) AS recall
FROM totals
