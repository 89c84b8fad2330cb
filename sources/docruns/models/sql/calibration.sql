-- How often leaves with a score are right, in ten bins of the score.
-- grain: processor_name, score, bin_low (processor_name null: all processors)
-- The bins are tenths of 0 to 1; of review_agent_score the whole numbers 1 to 5. mean_score: of the leaves in the bin.
-- low, high: Wilson's 95 % interval of share_right, as if the leaves were independent.
WITH binned AS (
    SELECT
        s.processor_name, s.score, s.value, s.is_right,
        CASE WHEN s.score = 'review_agent_score' THEN floor(s.value) ELSE least(floor(s.value * 10), 9) END AS bin,
        CASE WHEN s.score = 'review_agent_score' THEN 1 ELSE 10 END AS bins
    FROM answers.scores s
),
counted AS (
    SELECT
        processor_name, score, bin / bins AS bin_low, (bin + 1) / bins AS bin_high, count(*) AS n,
        avg(value) AS mean_score,
        avg(CASE WHEN is_right THEN 1.0 ELSE 0.0 END) AS share_right
    FROM binned
    GROUP BY GROUPING SETS ((processor_name, score, bin, bins), (score, bin, bins))
)
SELECT
    processor_name, score, bin_low, bin_high, n, mean_score, share_right,
    answers.wilson_low(share_right, n) AS low,
    answers.wilson_high(share_right, n) AS high
FROM counted
