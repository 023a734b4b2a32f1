-- The role that the node's processes use: it works, and can neither rewrite the trail nor change the schema.
-- Run it once as the owner of the database, after `ecg-node migrate` as the owner, and again after each migration:
--   psql -v ON_ERROR_STOP=1 -f postgresql-roles.sql ecg
-- Give the role a password with \password ecg_node, and set ECG_NODE_DATABASE_URL_FILE to it for listen, work, send and
-- console. Only `ecg-node migrate` and `ecg-node restore` need the owner.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ecg_node') THEN
    CREATE ROLE ecg_node LOGIN;
  END IF;
END $$;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO ecg_node;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ecg_node;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO ecg_node;
REVOKE UPDATE, DELETE, TRUNCATE ON trail FROM ecg_node;
REVOKE INSERT, DELETE, TRUNCATE ON trail_head FROM ecg_node;
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON alembic_version FROM ecg_node;
