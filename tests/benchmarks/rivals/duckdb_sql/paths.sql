CREATE TEMP TABLE nodes AS
SELECT *, json_type(value) AS type, regexp_extract(path, '([^.\[]*)[^.]*$', 1) AS name,
    regexp_replace(path, '[.\[][^.\[]*$', '') AS parent_path
FROM (
    SELECT workflow_run_id, processor_run_id, output, path,
        json_extract(value, '$.' || path) AS value
    FROM said JOIN outputs USING (processor_run_id, output)
);
