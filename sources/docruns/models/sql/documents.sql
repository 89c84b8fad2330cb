-- One extraction that ended well.
-- grain: processor_run_id
-- page_count: pages of its files. min_score: the lowest score of any leaf, logprobs, else OCR, else the platform's single
-- one, 0 to 1. credits: of this run and the parse run that it started.
SELECT
    r.id AS processor_run_id,
    r.workflow_run_id,
    r.processor_id,
    coalesce(r.processor_name, r.processor_id, 'inline') AS processor_name,
    r.processor_version,
    r.source,
    file.file_id,
    file.name AS file_name,
    r.page_count,
    r.created_at,
    r.reviewed,
    r.edited_count,
    r.field_count,
    f.min_score,
    f.min_review_agent_score,
    coalesce(r.total_credits, r.credits) AS credits,
    r.dashboard_url
FROM src.processor_runs r
LEFT JOIN src.run_files file ON file.run_id = r.id AND file.position = 0
LEFT JOIN (
    SELECT
        l.processor_run_id,
        min(coalesce(l.logprobs_confidence, l.ocr_confidence, l.confidence)) AS min_score,
        min(l.review_agent_score) AS min_review_agent_score
    FROM src.fields l
    WHERE l.kind = 'leaf'
    GROUP BY l.processor_run_id
) f ON f.processor_run_id = r.id
WHERE r.type = 'EXTRACT' AND r.is_final AND r.status IN ('PROCESSED', 'COMPLETED') AND r.deleted_at IS NULL
