-- What one reviewer did in one week (from Monday, UTC), by processor.
-- grain: week, reviewed_by, processor_name
-- upper_bound_s: the median of the seconds from the machine's end to the review's end. Platforms do not say when a review
-- began, so it holds the wait in the queue too. Plextera names no reviewers.
SELECT
    CAST(date_trunc('week', w.reviewed_at AT TIME ZONE 'UTC') AS DATE) AS week,
    w.reviewed_by,
    coalesce(r.processor_name, r.processor_id, 'inline') AS processor_name,
    count(*) AS documents,
    count(*) FILTER (WHERE r.edited_count > 0) AS edited_documents,
    sum(r.edited_count) AS edits,
    percentile_cont(0.5) WITHIN GROUP (
        ORDER BY extract('epoch' FROM w.reviewed_at - w.started_at)
    ) AS upper_bound_s
FROM src.workflow_runs w
JOIN src.processor_runs r ON r.workflow_run_id = w.id AND r.type = 'EXTRACT' AND r.reviewed AND r.deleted_at IS NULL
WHERE w.reviewed_at IS NOT NULL AND w.deleted_at IS NULL
GROUP BY 1, 2, 3
