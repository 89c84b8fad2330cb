-- One final leaf, from the workflow run to the place on the page.
-- grain: processor_run_id, path
-- left to bottom: the box of the first citation, in the unit of page_width and page_height.
SELECT
    r.workflow_run_id,
    w.workflow_name,
    s.name AS step,
    f.processor_run_id,
    coalesce(r.processor_name, r.processor_id, 'inline') AS processor_name,
    r.processor_version,
    f.path,
    f.field,
    f.value,
    f.edited,
    coalesce(c.file_id, file.file_id) AS file_id,
    coalesce(cited.name, file.name) AS file_name,
    c.page,
    c.page_width,
    c.page_height,
    c."left",
    c.top,
    c."right",
    c.bottom,
    c.reference_text,
    coalesce(r.dashboard_url, w.dashboard_url) AS dashboard_url
FROM src.fields f
JOIN src.processor_runs r ON r.id = f.processor_run_id
LEFT JOIN src.workflow_runs w ON w.id = r.workflow_run_id
LEFT JOIN src.workflow_steps s ON s.workflow_run_id = r.workflow_run_id AND s.position = r.workflow_step_position
LEFT JOIN src.citations c
    ON c.processor_run_id = f.processor_run_id AND c.path = f.path AND c.output = 'final' AND c.position = 0
LEFT JOIN src.run_files file ON file.run_id = r.id AND file.position = 0
LEFT JOIN src.run_files cited ON cited.run_id = r.id AND cited.file_id = c.file_id
WHERE f.kind = 'leaf' AND f.edit_kind IS DISTINCT FROM 'removed' AND r.deleted_at IS NULL
