-- One score of one leaf that a person has reviewed: the three scores of Extend and the one of Plextera, side by side.
-- grain: processor_run_id, path, score
-- A leaf that only the reviewer has was given no score by the model, and is left out.
SELECT *
FROM (
    SELECT
        l.processor_run_id, l.processor_id, l.processor_name, l.field, l.path, s.score,
        CASE s.number
            WHEN 1 THEN l.ocr_confidence
            WHEN 2 THEN l.logprobs_confidence
            WHEN 3 THEN CAST(l.review_agent_score AS DOUBLE)
            ELSE l.confidence
        END AS value,
        l.is_right
    FROM answers.leaves l
    CROSS JOIN (
        VALUES (1, 'ocr_confidence'), (2, 'logprobs_confidence'), (3, 'review_agent_score'), (4, 'confidence')
    ) AS s (number, score)
    WHERE l.is_reviewed AND l.edit_kind IS DISTINCT FROM 'added'
) AS given
WHERE value IS NOT NULL
