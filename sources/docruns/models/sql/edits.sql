-- One leaf that a reviewer has changed, added or removed.
-- grain: processor_run_id, path
-- edit_class: format (equal but for case, blanks, punctuation, and the spelling of a number: 1,234.50 and 1234.5), misread
-- (at most a fifth of the characters differ, in texts of up to 200), wrong, missed (only the reviewer has it), spurious (the
-- reviewer removed it). Of a currency the amount decides, and the code where it differs; its values read 19.54 USD.
-- null where settings drop the values. score: logprobs, else OCR, else the single one.
WITH edited AS (
    SELECT
        l.*,
        CASE WHEN l.initial_json IN ('null', '""') THEN NULL ELSE trim(l.initial_json, '"') END AS model_text,
        CASE WHEN l.value_json IN ('null', '""') THEN NULL ELSE trim(l.value_json, '"') END AS final_text,
        answers.amount_of(l.initial_json) AS model_amount,
        answers.amount_of(l.value_json) AS final_amount,
        answers.currency_of(l.initial_json) AS model_code,
        answers.currency_of(l.value_json) AS final_code
    FROM answers.leaves l
    WHERE l.edited
),
compared AS (
    SELECT
        e.*,
        coalesce(e.model_amount, e.model_text)
        || CASE WHEN e.model_code <> e.final_code THEN e.model_code ELSE '' END AS model_part,
        coalesce(e.final_amount, e.final_text)
        || CASE WHEN e.model_code <> e.final_code THEN e.final_code ELSE '' END AS final_part
    FROM edited e
),
folded AS (
    SELECT
        c.*,
        answers.fold(c.model_part, c.final_part) AS model_folded,
        answers.fold(c.final_part, c.model_part) AS final_folded
    FROM compared c
)
SELECT
    e.processor_run_id,
    e.workflow_run_id,
    e.processor_id,
    e.processor_name,
    e.processor_version,
    e.path,
    e.field,
    CASE WHEN e.model_amount IS NULL THEN e.model_text ELSE nullif(e.model_amount, 'null') || e.model_code END AS model_value,
    CASE WHEN e.final_amount IS NULL THEN e.final_text ELSE nullif(e.final_amount, 'null') || e.final_code END AS final_value,
    e.edit_kind,
    CASE
        WHEN e.edit_kind = 'added' OR e.initial_json IN ('null', '""') OR e.model_amount = 'null' THEN 'missed'
        WHEN e.edit_kind = 'removed' OR e.value_json IN ('null', '""') OR e.final_amount = 'null' THEN 'spurious'
        WHEN e.initial_json IS NULL OR e.value_json IS NULL THEN NULL
        WHEN e.model_folded = e.final_folded THEN 'format'
        WHEN length(e.model_folded) + length(e.final_folded) > 400 THEN 'wrong'
        WHEN answers.edit_distance(e.model_folded, e.final_folded) <= greatest(1, length(e.final_folded) / 5) THEN 'misread'
        ELSE 'wrong'
    END AS edit_class,
    w.reviewed_by,
    w.reviewed_at,
    coalesce(e.logprobs_confidence, e.ocr_confidence, e.confidence) AS score,
    e.page,
    e.dashboard_url
FROM folded e
LEFT JOIN src.workflow_runs w ON w.id = e.workflow_run_id
