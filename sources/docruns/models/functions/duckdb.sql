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
-- the amount of a currency, as text; null for any other JSON
CREATE OR REPLACE MACRO {schema}.amount_of(given) AS CASE
    WHEN given LIKE '%"amount"%' AND given LIKE '%"iso_4217_currency_code"%'
        THEN regexp_replace(given, '(?s)^.*"amount"\s*:\s*"?([^",}\s]*).*$', '\1')
END;
-- the code of a currency after a blank, empty where it has none
CREATE OR REPLACE MACRO {schema}.currency_of(given) AS CASE
    WHEN given LIKE '%"iso_4217_currency_code"%'
        THEN replace(regexp_replace(given, '(?s)^.*"iso_4217_currency_code"\s*:\s*"?([^",}\s]*).*$', ' \1'), ' null', '')
    ELSE ''
END;
-- a text without what only spells it: of two numbers separators and zeros at the end; else case, blanks and punctuation,
-- but not the point or comma of a decimal number. It calls no other macro: DuckDB could not copy the database
CREATE OR REPLACE MACRO {schema}.fold(given, other) AS CASE
    WHEN regexp_matches(given, '^[-+]?(0|[1-9][0-9]{0,2}([,'' ][0-9]{3})+|[1-9][0-9]*)([.][0-9]+)?$')
        AND regexp_matches(other, '^[-+]?(0|[1-9][0-9]{0,2}([,'' ][0-9]{3})+|[1-9][0-9]*)([.][0-9]+)?$')
        THEN regexp_replace(regexp_replace(given, '[,'' +]', '', 'g'), '[.]0*$|([.][0-9]*[1-9])0+$', '\1')
    ELSE lower(regexp_replace(
        regexp_replace(given, '([0-9])[.,]([0-9][0-9]?($|[^0-9.,]))', '\1_\2', 'g'), '[\s,.''/-]', '', 'g'
    ))
END;
CREATE OR REPLACE MACRO {schema}.is_critical(processor_name, field) AS {critical};
