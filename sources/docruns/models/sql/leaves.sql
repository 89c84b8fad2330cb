-- One leaf of an extraction that ended well: what the other models count.
-- grain: processor_run_id, path (a removed leaf has the path of the item that was removed)
-- Left out: deleted runs, runs that failed or are not final, and try-outs in Studio.
-- is_reviewed: a person has looked, and the model's value is known. is_right: the reviewer left it as it was.
SELECT
    f.processor_run_id,
    r.workflow_run_id,
    r.processor_id,
    coalesce(r.processor_name, r.processor_id, 'inline') AS processor_name,
    r.processor_version,
    r.created_at,
    r.dashboard_url,
    f.path,
    f.field,
    f.type,
    f.value,
    f.initial_json,
    f.value_json,
    f.edited,
    f.edit_kind,
    coalesce(r.reviewed, FALSE) AND f.edited IS NOT NULL AS is_reviewed,
    NOT f.edited AS is_right,
    f.ocr_confidence,
    f.logprobs_confidence,
    f.review_agent_score,
    f.confidence,
    f.page
FROM src.fields f
JOIN src.processor_runs r ON r.id = f.processor_run_id
WHERE f.kind = 'leaf'
  AND r.type = 'EXTRACT'
  AND r.is_final
  AND r.status IN ('PROCESSED', 'COMPLETED')
  AND r.deleted_at IS NULL
  AND r.source IS DISTINCT FROM 'STUDIO'
