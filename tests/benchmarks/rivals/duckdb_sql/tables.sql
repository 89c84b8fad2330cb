CREATE SCHEMA extend;

CREATE TABLE extend.fields AS
SELECT n.*,
    value_json->>'iso_4217_currency_code' AS currency_code,
    CASE type
        WHEN 'VARCHAR' THEN value_json->>'$'
        ELSE coalesce(value_json->>'amount', value_json)
    END AS value,
    TRY_CAST(coalesce(value_json->>'amount', value_json) AS DOUBLE) AS value_number,
    initial_json IS NOT NULL AND initial_json IS DISTINCT FROM value_json AS edited,
    s.entry.ocrConfidence AS ocr_confidence,
    s.entry.logprobsConfidence AS logprobs_confidence,
    s.entry.reviewAgentScore AS review_agent_score,
    f.entry.citations[1].page.number AS page,
    len(f.entry.citations) AS citation_count,
    len(f.entry.insights) AS insight_count
FROM (
    SELECT processor_run_id, path,
        any_value(workflow_run_id) AS workflow_run_id,
        regexp_replace(path, '\[\d+\]', '[]', 'g') AS field,
        any_value(name) AS name, any_value(parent_path) AS parent_path, any_value(type) AS type,
        max(json) FILTER (output = 'final') AS value_json,
        max(json) FILTER (output = 'initial') AS initial_json,
        max(json) FILTER (output = 'reviewed') AS reviewed_json
    FROM (
        SELECT *,
            CASE
                WHEN type = 'ARRAY' THEN '[]'
                WHEN type = 'OBJECT' AND (value->'iso_4217_currency_code') IS NULL
                    AND (value->'is_signed') IS NULL THEN '{}'
                ELSE value::VARCHAR
            END AS json
        FROM nodes
    )
    GROUP BY ALL
) AS n
LEFT JOIN (FROM said WHERE output = 'final') AS f
    ON f.processor_run_id = n.processor_run_id AND f.path = n.path
LEFT JOIN (FROM said WHERE output = 'initial') AS i
    ON i.processor_run_id = n.processor_run_id AND i.path = n.path
LEFT JOIN LATERAL (SELECT coalesce(i.entry, f.entry) AS entry) AS s ON true;

-- of the other outputs, the lists that are not the final one's
CREATE TEMP TABLE differing AS
SELECT s.processor_run_id, s.output, s.path,
    CASE WHEN s.entry.citations IS DISTINCT FROM f.entry.citations THEN s.entry.citations
    END AS citations,
    CASE WHEN s.entry.insights IS DISTINCT FROM f.entry.insights THEN s.entry.insights
    END AS insights
FROM said AS s
LEFT JOIN (FROM said WHERE output = 'final') AS f
    ON f.processor_run_id = s.processor_run_id AND f.path = s.path AND s.output <> 'final';

CREATE TABLE extend.insights AS
SELECT processor_run_id, output, path, position - 1 AS position,
    insight.type AS type, insight.content AS content
FROM (
    SELECT *, unnest(insights) AS insight, generate_subscripts(insights, 1) AS position
    FROM differing
);

CREATE TABLE extend.citations AS
SELECT processor_run_id, output, path, position - 1 AS position,
    c.page.number AS page, c.page.width AS page_width, c.page.height AS page_height,
    c.fileId AS file_id, c.referenceText AS reference_text,
    list_min(xs) AS "left", list_min(ys) AS top, list_max(xs) AS "right", list_max(ys) AS bottom,
    to_json(c.polygon) AS polygon
FROM (
    SELECT *, list_transform(c.polygon, lambda p: p.x) AS xs,
        list_transform(c.polygon, lambda p: p.y) AS ys
    FROM (
        SELECT *, unnest(citations) AS c, generate_subscripts(citations, 1) AS position
        FROM differing
    )
);
