-- What devices were offered and downloaded: the sum, and the last updates.
CREATE TABLE device_downloads (
    brand      TEXT NOT NULL,
    model      TEXT NOT NULL,
    serial     TEXT NOT NULL,
    downloads  TEXT NOT NULL,
    PRIMARY KEY (brand, model, serial)
) /*STRICT*/;
