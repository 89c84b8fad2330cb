-- One score of one leaf that a person has reviewed: the three scores of Extend and the one of Plextera, side by side.
-- grain: processor_run_id, path, score
-- A leaf that only the reviewer has was given no score by the model, and is left out.
SELECT l.processor_run_id, l.processor_id, l.processor_name, l.field, l.path, s.score, s.value, l.is_right
FROM answers.leaves l
CROSS JOIN LATERAL (
    VALUES ('ocr_confidence', l.ocr_confidence),
           ('logprobs_confidence', l.logprobs_confidence),
           ('review_agent_score', CAST(l.review_agent_score AS DOUBLE)),
           ('confidence', l.confidence)
) AS s (score, value)
WHERE l.is_reviewed AND l.edit_kind IS DISTINCT FROM 'added' AND s.value IS NOT NULL
