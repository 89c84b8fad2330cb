-- How many documents people must review, the lowest score first, until the leaves of the others reach a target.
-- grain: processor_name, score, target
-- A document's place in the queue is the lowest score of its leaves. to_review: documents with the lowest scores, so that
-- the lower end of the 95 % interval of the share that is right, among the leaves of the others, reaches the target.
-- errors_left: wrong leaves of these others; errors_left_high: at the lower end of the interval. advice: what to do; a score
-- that cannot order the queue (see the verdict in score_health) gives "review all", or "audit a sample" where all documents
-- together reach the target.
WITH documents AS (
    SELECT
        processor_name, score, processor_run_id, min(value) AS lowest, count(*) AS n,
        count(*) FILTER (WHERE is_right) AS x
    FROM answers.scores
    GROUP BY 1, 2, 3
),
at_score AS (
    SELECT processor_name, score, lowest, count(*) AS documents, sum(n) AS n, sum(x) AS x
    FROM documents
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
