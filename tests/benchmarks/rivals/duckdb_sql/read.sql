-- metadata as maps of structs, values as JSON
CREATE TEMP TABLE runs AS
SELECT id, unnest(stepRuns).result.extractRun AS r
FROM read_json(
    $file, format = 'newline_delimited', maximum_object_size = 268435456,
    columns = {id: 'VARCHAR', stepRuns: '$step[]'}
);

CREATE TEMP TABLE outputs AS
SELECT workflow_run_id, processor_run_id, output, o.value AS value, o.metadata AS metadata
FROM (
    SELECT id AS workflow_run_id, r.id AS processor_run_id, 'final' AS output, r.output AS o
    FROM runs
    UNION ALL SELECT id, r.id, 'initial', r.initialOutput FROM runs
    UNION ALL SELECT id, r.id, 'reviewed', r.reviewedOutput FROM runs
)
WHERE o IS NOT NULL;

CREATE TEMP TABLE said AS
SELECT processor_run_id, output,
    unnest(map_keys(metadata)) AS path, unnest(map_values(metadata)) AS entry
FROM outputs;
