-- The serials that a model's policy may give out, in the order of the operator's list. `hardware_id` is empty for one that any
-- device of the model may get.
CREATE TABLE listed_serials (
    brand        TEXT   NOT NULL,
    model        TEXT   NOT NULL,
    serial       TEXT   NOT NULL,
    hardware_id  TEXT   NOT NULL,
    position     BIGINT NOT NULL,
    PRIMARY KEY (brand, model, serial)
) /*STRICT*/;

-- The serials given out here. A row is there before the serial is signed: the second key keeps one device key of a model from
-- ever getting two. `document` is the signed assertion; none until it is signed.
CREATE TABLE issued_serials (
    brand           TEXT   NOT NULL,
    model           TEXT   NOT NULL,
    serial          TEXT   NOT NULL,
    device_key      TEXT   NOT NULL,
    signed_by       TEXT   NOT NULL,
    request_digest  TEXT   NOT NULL,
    issued_at       BIGINT NOT NULL,
    document        TEXT,
    PRIMARY KEY (brand, model, serial),
    UNIQUE (brand, model, device_key)
) /*STRICT*/;
