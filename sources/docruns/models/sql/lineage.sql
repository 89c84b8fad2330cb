-- One final leaf, from the workflow run to the place on the page.
-- grain: processor_run_id, path
-- left to bottom: the box of the first citation, in the unit of page_width and page_height.
WITH runs AS (
    -- joined once a run, not once a leaf
    SELECT
        r.id,
        r.workflow_run_id,
        w.workflow_name,
        s.name AS step,
        coalesce(r.processor_name, r.processor_id, 'inline') AS processor_name,
        r.processor_version,
        file.file_id,
        file.name AS file_name,
        coalesce(r.dashboard_url, w.dashboard_url) AS dashboard_url
    FROM src.processor_runs r
    LEFT JOIN src.workflow_runs w ON w.id = r.workflow_run_id
    LEFT JOIN src.workflow_steps s
        ON s.workflow_run_id = r.workflow_run_id AND s.position = r.workflow_step_position
    LEFT JOIN src.run_files file ON file.run_id = r.id AND file.position = 0
    WHERE r.deleted_at IS NULL
),
files AS (
    -- a run may name a file twice
    SELECT run_id, file_id, min(name) AS name FROM src.run_files GROUP BY run_id, file_id
),
cited AS (
    SELECT c.*, file.name AS file_name
    FROM src.citations c
    LEFT JOIN files file ON file.run_id = c.processor_run_id AND file.file_id = c.file_id
    WHERE c.output = 'final' AND c.position = 0
)
SELECT
    r.workflow_run_id,
    r.workflow_name,
    r.step,
    f.processor_run_id,
    r.processor_name,
    r.processor_version,
    f.path,
    f.field,
    f.value,
    f.edited,
    coalesce(c.file_id, r.file_id) AS file_id,
    coalesce(c.file_name, r.file_name) AS file_name,
    c.page,
    c.page_width,
    c.page_height,
    c."left",
    c.top,
    c."right",
    c.bottom,
    c.reference_text,
    r.dashboard_url
FROM src.fields f
JOIN runs r ON r.id = f.processor_run_id
LEFT JOIN cited c ON c.processor_run_id = f.processor_run_id AND c.path = f.path
WHERE f.kind = 'leaf' AND f.edit_kind IS DISTINCT FROM 'removed'
