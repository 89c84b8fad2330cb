-- The bill of one month of UTC, by workflow, processor and product. It adds up to the whole bill, nothing twice.
-- grain: month, workflow_name, processor_name, product
-- credits: of workflow runs (which hold those of the runs inside) and of runs outside of workflow runs. product is null
-- where the platform does not itemise them; processor_name is null where the charge names no run of the tables. A run
-- that its source says came in a workflow run is inside one, also where no workflow run names it (a cancelled one). A parse run that another run started counts in
-- the total of that run, where it has one.
WITH parses_in_totals AS (
    SELECT parse_run_id AS id FROM src.processor_runs
    WHERE parse_run_id IS NOT NULL AND (workflow_run_id IS NOT NULL OR total_credits IS NOT NULL)
),
bills AS (
    SELECT w.id, w.id AS workflow_run_id, w.created_at, w.credits, w.workflow_name, 'workflow' AS run_kind
    FROM src.workflow_runs w
    WHERE coalesce(w.depth, 0) = 0 AND w.credits IS NOT NULL
    UNION ALL
    SELECT r.id, NULL, r.created_at, coalesce(r.total_credits, r.credits), NULL, 'processor'
    FROM src.processor_runs r
    WHERE r.workflow_run_id IS NULL AND r.source IS DISTINCT FROM 'WORKFLOW_RUN'
      AND coalesce(r.total_credits, r.credits) IS NOT NULL
      AND NOT (r.source = 'DOCUMENT_PROCESSOR_RUN' AND r.id IN (SELECT id FROM parses_in_totals))
),
itemised AS (
    SELECT b.id, sum(c.credits) AS credits
    FROM bills b JOIN src.charges c ON c.run_id = b.id AND c.run_kind = b.run_kind
    GROUP BY b.id
),
entries AS (
    SELECT b.id, b.created_at, b.workflow_name, c.charged_run_id AS run_id, c.product, c.credits
    FROM bills b JOIN src.charges c ON c.run_id = b.id AND c.run_kind = b.run_kind
    UNION ALL
    SELECT
        b.id, b.created_at, b.workflow_name, CASE WHEN b.run_kind = 'processor' THEN b.id END, NULL,
        b.credits - coalesce(i.credits, 0)
    FROM bills b LEFT JOIN itemised i ON i.id = b.id
    WHERE b.credits <> coalesce(i.credits, 0)
)
SELECT
    CAST(date_trunc('month', e.created_at AT TIME ZONE 'UTC') AS DATE) AS month,
    e.workflow_name,
    CASE WHEN r.id IS NULL THEN NULL ELSE coalesce(r.processor_name, r.processor_id, r.type) END AS processor_name,
    e.product,
    count(DISTINCT coalesce(e.run_id, e.id)) AS runs,
    count(DISTINCT e.id) AS documents,
    sum(r.page_count) AS pages,
    sum(e.credits) AS credits,
    sum(e.credits) / count(DISTINCT e.id) AS credits_per_document,
    sum(e.credits) / nullif(sum(r.page_count), 0) AS credits_per_page
FROM entries e
LEFT JOIN src.processor_runs r ON r.id = e.run_id
GROUP BY 1, 2, 3, 4
