-- What lets backups of a VM go, as JSON; NULL while nothing did.
ALTER TABLE vm ADD COLUMN retention TEXT CHECK (retention IS NULL OR json_valid(retention));
