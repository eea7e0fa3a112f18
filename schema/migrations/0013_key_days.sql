-- How many documents a key with a limit signed on a day, counted in days since 1970.
CREATE TABLE key_days (
    key_name  TEXT   NOT NULL,
    day       BIGINT NOT NULL,
    signed    BIGINT NOT NULL,
    PRIMARY KEY (key_name, day)
) /*STRICT*/;
