CREATE TEMP TABLE tree AS
SELECT workflow_run_id, processor_run_id, output,
    substr(t.fullkey, 3) AS path, substr(t.path, 3) AS parent_path,
    t.key AS name, t.type AS type, t.value AS value
FROM outputs, json_tree(value) AS t
WHERE t.id > 0;

-- a currency and a signature are one leaf each
CREATE TEMP TABLE nodes AS
SELECT * FROM tree ANTI JOIN (
    SELECT processor_run_id, output, parent_path FROM tree
    WHERE name IN ('iso_4217_currency_code', 'is_signed')
) USING (processor_run_id, output, parent_path);
