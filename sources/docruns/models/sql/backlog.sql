-- One run that is not final: it waits for a person or for the platform.
-- grain: workflow_run_id
-- age_s: seconds since the run was created. kind: review (a person must act) or processing.
SELECT
    w.id AS workflow_run_id,
    CAST(floor(extract('epoch' FROM now() - w.created_at)) AS BIGINT) AS age_s,
    w.status,
    coalesce(w.workflow_name, w.workflow_id) AS workflow_name,
    CASE WHEN w.status = 'NEEDS_REVIEW' THEN 'review' ELSE 'processing' END AS kind,
    w.created_at,
    w.dashboard_url
FROM src.workflow_runs w
WHERE NOT w.is_final AND w.deleted_at IS NULL AND coalesce(w.depth, 0) = 0
