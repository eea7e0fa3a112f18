-- What was counted, in steps: how much of what in each hour and in each day. A step is named by its first microsecond.
CREATE TABLE measures (
    step    TEXT   NOT NULL,
    metric  TEXT   NOT NULL,
    at      BIGINT NOT NULL,
    label   TEXT   NOT NULL,
    value   BIGINT NOT NULL,
    PRIMARY KEY (step, metric, at, label)
) /*STRICT*/;
