-- {schema}: the schema of the views. {critical}: a condition on processor_name and field.
-- the ends of Wilson's 95 % interval for a share p of n
CREATE OR REPLACE MACRO {schema}.wilson_low(p, n) AS greatest(
    0.0,
    (p + 1.9207294103470623 / n - 1.959963984540054 * sqrt(p * (1 - p) / n + 0.9603647051735311 / (n * n)))
    / (1 + 3.8414588206941245 / n)
);
CREATE OR REPLACE MACRO {schema}.wilson_high(p, n) AS least(
    1.0,
    (p + 1.9207294103470623 / n + 1.959963984540054 * sqrt(p * (1 - p) / n + 0.9603647051735311 / (n * n)))
    / (1 + 3.8414588206941245 / n)
);
-- the variance of the share x / n where leaves come in documents, over that of independent leaves; nn, nx and xx are the
-- sums of the products by document. Few documents tell the variance badly: it grows by (t / z) squared, to the first order
-- (Korn and Graubard 1998). Where all leaves are right, or none is, a document counts as one leaf.
CREATE OR REPLACE MACRO {schema}.design_effect(documents, n, x, nn, nx, xx) AS greatest(
    1.0,
    CASE
        WHEN documents < 2 OR x IN (0, n) THEN CAST(n AS DOUBLE) / documents
        ELSE (1 + 2.4207294103470623 / (documents - 1)) * documents / (documents - 1)
            * (xx - 2 * (x / n) * nx + (x / n) * (x / n) * nn) / (n * (x / n) * (1 - x / n))
    END
);
CREATE OR REPLACE MACRO {schema}.edit_distance(one, other) AS levenshtein(one, other);
CREATE OR REPLACE MACRO {schema}.is_critical(processor_name, field) AS {critical};
