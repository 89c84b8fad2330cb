-- Failures of one day of UTC, by workflow, step and code.
-- grain: day, workflow_name, step, code
-- A failed processor run counts where its step is known or its workflow run has not failed itself; so one failure
-- counts once. step is null for the workflow run as a whole, workflow_name for a run that came in no workflow.
WITH failed AS (
    SELECT
        w.created_at, coalesce(w.workflow_name, w.workflow_id) AS workflow_name, NULL AS step,
        coalesce(w.failure_code, w.status) AS code, w.id, w.dashboard_url
    FROM src.workflow_runs w
    WHERE w.status IN ('FAILED', 'REJECTED', 'CANCELLED') AND w.deleted_at IS NULL AND coalesce(w.depth, 0) = 0
    UNION ALL
    SELECT
        r.created_at, coalesce(w.workflow_name, w.workflow_id), coalesce(s.name, r.type),
        coalesce(r.failure_code, r.status), r.id, r.dashboard_url
    FROM src.processor_runs r
    LEFT JOIN src.workflow_runs w ON w.id = r.workflow_run_id
    LEFT JOIN src.workflow_steps s
        ON s.workflow_run_id = r.workflow_run_id AND s.position = r.workflow_step_position
    WHERE r.status IN ('FAILED', 'REJECTED') AND r.deleted_at IS NULL
      AND (w.id IS NULL OR w.status NOT IN ('FAILED', 'REJECTED', 'CANCELLED'))
),
ranked AS (
    SELECT
        f.*,
        row_number() OVER (
            PARTITION BY date_trunc('day', created_at AT TIME ZONE 'UTC'), workflow_name, step, code ORDER BY id DESC
        ) AS place
    FROM failed f
)
SELECT
    CAST(date_trunc('day', created_at AT TIME ZONE 'UTC') AS DATE) AS day,
    workflow_name,
    step,
    code,
    count(*) AS runs,
    max(CASE WHEN place = 1 THEN id END) AS example_run_id,
    max(CASE WHEN place = 1 THEN dashboard_url END) AS dashboard_url
FROM ranked
GROUP BY 1, 2, 3, 4
