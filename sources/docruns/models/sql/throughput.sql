-- Runs of one workflow on one day of UTC.
-- grain: day, workflow_name
-- Outermost runs only. p50_s and p95_s: seconds of the machine's time, from the start to the end of the run's last
-- processor run as the platform made it; runs that a person has reviewed are left out of them, because their end is the
-- end of the review.
SELECT
    CAST(date_trunc('day', w.created_at) AS DATE) AS day,
    coalesce(w.workflow_name, w.workflow_id) AS workflow_name,
    count(*) AS runs,
    count(*) FILTER (WHERE w.status = 'FAILED') AS failed,
    count(*) FILTER (WHERE w.status = 'REJECTED') AS rejected,
    count(*) FILTER (WHERE w.status = 'NEEDS_REVIEW') AS needs_review,
    sum(p.pages) AS pages,
    quantile_cont(date_diff('millisecond', w.started_at, w.ended_at) / 1000.0, 0.5)
        FILTER (WHERE w.reviewed IS NOT TRUE AND w.is_final) AS p50_s,
    quantile_cont(date_diff('millisecond', w.started_at, w.ended_at) / 1000.0, 0.95)
        FILTER (WHERE w.reviewed IS NOT TRUE AND w.is_final) AS p95_s
FROM src.workflow_runs w
LEFT JOIN (
    SELECT run_id, sum(page_count) AS pages FROM src.run_files
    WHERE run_kind = 'workflow' AND parent_file_id IS NULL GROUP BY run_id
) p ON p.run_id = w.id
WHERE w.deleted_at IS NULL AND coalesce(w.depth, 0) = 0
GROUP BY 1, 2
