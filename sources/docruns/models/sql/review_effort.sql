-- How many documents people must review, the lowest score first, until the leaves of the others reach a target.
-- grain: processor_name, score, target
-- A document's place in the queue is the lowest score of its leaves. to_review: documents with the lowest scores, so that
-- the lower end of the 95 % interval of the share that is right, among the leaves of the others, reaches the target.
-- errors_left: wrong leaves of these others; errors_left_high: at the lower end of the interval. advice: what to do; a score
-- that cannot order the queue (see the verdict in score_health) gives "review all", or "audit a sample" where all documents
-- together reach the target.
WITH
-- l: the lowest score of a document, n: leaves that have the score, x: of them right ones; of each of the four scores
by_document AS (
    SELECT
        processor_name, processor_run_id,
        min(ocr_confidence) AS l1, count(ocr_confidence) AS n1, count(ocr_confidence) FILTER (WHERE is_right) AS x1,
        min(logprobs_confidence) AS l2, count(logprobs_confidence) AS n2,
        count(logprobs_confidence) FILTER (WHERE is_right) AS x2,
        min(review_agent_score) AS l3, count(review_agent_score) AS n3,
        count(review_agent_score) FILTER (WHERE is_right) AS x3,
        min(confidence) AS l4, count(confidence) AS n4, count(confidence) FILTER (WHERE is_right) AS x4
    FROM answers.leaves
    WHERE is_reviewed AND edit_kind IS DISTINCT FROM 'added'
    GROUP BY 1, 2
),
documents AS (
    SELECT
        d.processor_name, s.score,
        CASE s.number WHEN 1 THEN l1 WHEN 2 THEN l2 WHEN 3 THEN CAST(l3 AS DOUBLE) ELSE l4 END AS lowest,
        CASE s.number WHEN 1 THEN n1 WHEN 2 THEN n2 WHEN 3 THEN n3 ELSE n4 END AS n,
        CASE s.number WHEN 1 THEN x1 WHEN 2 THEN x2 WHEN 3 THEN x3 ELSE x4 END AS x
    FROM by_document d
    CROSS JOIN (
        VALUES (1, 'ocr_confidence'), (2, 'logprobs_confidence'), (3, 'review_agent_score'), (4, 'confidence')
    ) AS s (number, score)
),
at_score AS (
    SELECT processor_name, score, lowest, count(*) AS documents, sum(n) AS n, sum(x) AS x
    FROM documents
    WHERE n > 0
    GROUP BY 1, 2, 3
),
from_score AS (
    SELECT
        processor_name, score, lowest,
        sum(documents) OVER down AS passed, sum(n) OVER down AS n, sum(x) OVER down AS x
    FROM at_score
    WINDOW down AS (PARTITION BY processor_name, score ORDER BY lowest DESC)
),
health AS MATERIALIZED (
    SELECT processor_name, score, documents, design_effect, verdict, n, wrong, low
    FROM answers.score_health
    WHERE field IS NULL
),
bounded AS MATERIALIZED (
    SELECT f.*, answers.wilson_low(f.x / f.n, f.n / h.design_effect) AS low
    FROM from_score f
    JOIN health h ON h.processor_name = f.processor_name AND h.score = f.score
),
chosen AS (
    SELECT h.processor_name, h.score, CAST(v.share AS DOUBLE) AS target, min(b.lowest) AS lowest
    FROM health h
    CROSS JOIN (VALUES (0.95), (0.98), (0.99), (0.995)) AS v (share)
    LEFT JOIN bounded b ON b.processor_name = h.processor_name AND b.score = h.score AND b.low >= v.share
    GROUP BY 1, 2, 3
)
SELECT
    c.processor_name,
    c.score,
    c.target,
    h.documents,
    h.documents - coalesce(b.passed, 0) AS to_review,
    (h.documents - coalesce(b.passed, 0)) / h.documents AS review_share,
    coalesce(b.n - b.x, 0) AS errors_left,
    coalesce(b.n * (1 - b.low), 0) AS errors_left_high,
    h.verdict,
    CASE
        WHEN h.verdict = 'too_few' THEN 'review all: too few errors are known to order a queue'
        WHEN h.low >= c.target
            THEN 'audit a sample of ' || CAST(ceil(3.8416 * c.target * (1 - c.target) / 0.0001) AS BIGINT) || ' leaves'
        WHEN h.verdict IN ('undiscriminating', 'degenerate') OR b.passed IS NULL THEN 'review all'
        ELSE 'review documents whose lowest score is below ' || CAST(c.lowest AS DECIMAL(18, 3))
    END AS advice
FROM chosen c
JOIN health h ON h.processor_name = c.processor_name AND h.score = c.score
LEFT JOIN bounded b ON b.processor_name = c.processor_name AND b.score = c.score AND b.lowest = c.lowest
