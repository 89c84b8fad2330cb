-- Runs of one workflow on one day of UTC.
-- grain: day, workflow_name
-- Outermost runs only. p50_s and p95_s: seconds of the machine, from the start to the end of a run; runs that a person
-- has reviewed are left out of them, because their end is the end of the review. Plextera does not say which these are.
SELECT
    CAST(date_trunc('day', w.created_at AT TIME ZONE 'UTC') AS DATE) AS day,
    coalesce(w.workflow_name, w.workflow_id) AS workflow_name,
    count(*) AS runs,
    count(*) FILTER (WHERE w.status = 'FAILED') AS failed,
    count(*) FILTER (WHERE w.status = 'REJECTED') AS rejected,
    count(*) FILTER (WHERE w.status = 'NEEDS_REVIEW') AS needs_review,
    sum(p.pages) AS pages,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract('epoch' FROM w.ended_at - w.started_at))
        FILTER (WHERE w.reviewed IS NOT TRUE AND w.is_final) AS p50_s,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY extract('epoch' FROM w.ended_at - w.started_at))
        FILTER (WHERE w.reviewed IS NOT TRUE AND w.is_final) AS p95_s
FROM src.workflow_runs w
LEFT JOIN (
    SELECT f.run_id, sum(f.page_count) AS pages FROM src.run_files f
    WHERE f.run_kind = 'workflow' AND f.parent_file_id IS NULL GROUP BY f.run_id
) p ON p.run_id = w.id
WHERE w.deleted_at IS NULL AND coalesce(w.depth, 0) = 0
GROUP BY 1, 2
