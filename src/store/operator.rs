//! `p99 store`: the schema is made, looked at, and declared filled. `main` calls these; they run by
//! the statements of `sql` and say what they found. The service itself has no right to change the
//! schema.

use super::connection::Connection;
use super::place::StorePlace;
use super::schema::{ROLE_SETTINGS, SCHEMA, SCHEMA_VERSION, TABLES};

/// What `p99 store check` found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What is as it must be, in lines.
    pub facts: Vec<String>,
    /// What an operator should know, and p99 runs with.
    pub warnings: Vec<String>,
    /// Why no payment is taken in yet.
    pub waits: Vec<String>,
    /// What p99 cannot run with, and what to do.
    pub faults: Vec<String>,
}

/// The host that writes, without any statement prepared.
pub(super) async fn writing(place: &StorePlace) -> Result<Connection, String> {
    let mut faults = Vec::new();
    for host in &place.url().hosts {
        match Connection::open_one(place, host).await {
            Ok(one) if one.facts().is_standby || one.facts().is_read_only => {
                faults.push(format!("{host}: it does not write"));
            }
            Ok(one) => return Ok(one),
            Err(why) => faults.push(format!("{host}: {why}")),
        }
    }
    Err(faults.join("; "))
}

/// The first value of the first row.
pub(super) async fn value(
    connection: &mut Connection,
    sql: &str,
) -> Result<Option<String>, String> {
    let rows = connection.simple(sql).await?;
    Ok(rows
        .into_iter()
        .next()
        .and_then(|row| row.into_iter().next())
        .flatten())
}

/// The version of the schema, if there is one.
async fn version(connection: &mut Connection) -> Result<Option<i32>, String> {
    let is_there = "SELECT count(*) FROM information_schema.tables \
                    WHERE table_schema = 'p99' AND table_name = 'meta'";
    if value(connection, is_there).await?.as_deref() != Some("1") {
        return Ok(None);
    }
    let version = value(connection, "SELECT version FROM p99.meta WHERE one = 1").await?;
    Ok(version.and_then(|version| version.parse().ok()))
}

fn is_too_new(version: i32) -> Option<String> {
    (version > SCHEMA_VERSION).then(|| {
        format!(
            "the schema has version {version}, and this release knows {SCHEMA_VERSION}: use the \
             release that made it"
        )
    })
}

/// Makes the schema, and gives `role` the rights and settings of the service. May be repeated.
/// Returns what was done, in lines.
///
/// # Errors
/// What the server refused, in words for the operator. What was done until then stays.
pub async fn migrate(place: &StorePlace, role: &str) -> Result<Vec<String>, String> {
    let role_is_plain = !role.is_empty()
        && role.len() <= 63
        && role
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !role_is_plain {
        return Err(format!(
            "{role:?}: a role of p99's is of letters, digits and _"
        ));
    }
    let mut connection = writing(place).await?;
    let before = version(&mut connection).await?;
    if let Some(why) = before.and_then(is_too_new) {
        return Err(why);
    }
    // Unquoted, the server would take P99 for p99, and `order` for a word of its own.
    let quoted = format!("\"{role}\"");
    let is_known = format!("SELECT 1 FROM pg_roles WHERE rolname = '{role}'");
    if value(&mut connection, &is_known).await?.is_none() {
        return Err(format!(
            "there is no role {role}: CREATE ROLE {quoted} LOGIN PASSWORD '...' first"
        ));
    }
    let schema = format!("BEGIN; {}; COMMIT", SCHEMA.join("; "));
    connection.simple(&schema).await?;
    let tables = TABLES.map(|table| format!("p99.{table}")).join(", ");
    let rights = format!(
        "GRANT USAGE ON SCHEMA p99 TO {quoted}; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {quoted}"
    );
    connection.simple(&rights).await?;
    for (name, value) in ROLE_SETTINGS {
        let set = format!("ALTER ROLE {quoted} SET {name} = '{value}'");
        let done = connection.simple(&set).await;
        done.map_err(|why| format!("{set}: {why}; an administrator must do it"))?;
    }
    Ok(vec![
        format!(
            "{}: schema p99 has version {SCHEMA_VERSION}",
            connection.host()
        ),
        format!("role {role} has its rights and settings"),
        match before {
            Some(_) => "nothing of what was there was changed".to_owned(),
            None => "it takes no payments until `p99 store import --done`".to_owned(),
        },
    ])
}

/// Says that everything that was to be imported is there: instances may take payments.
///
/// # Errors
/// What the server refused, in words for the operator.
pub async fn finish_import(place: &StorePlace) -> Result<Vec<String>, String> {
    let mut connection = writing(place).await?;
    demand_schema(&mut connection).await?;
    connection.simple("BEGIN").await?;
    // An import that begins meanwhile waits for this, or this waits for it.
    let done = "UPDATE p99.meta SET importing = false WHERE one = 1";
    connection.simple(done).await?;
    let unfinished = "SELECT holder FROM p99.writer WHERE holder LIKE 'journal %' \
                      AND holder NOT LIKE '%, whole' ORDER BY writer";
    if let Some(journal) = value(&mut connection, unfinished).await? {
        return Err(format!(
            "{journal} is not wholly imported: `p99 store import --journal` first"
        ));
    }
    connection.simple("COMMIT").await?;
    Ok(vec!["instances may take payments".to_owned()])
}

/// Demands a schema that this release knows.
pub(super) async fn demand_schema(connection: &mut Connection) -> Result<(), String> {
    match version(connection).await? {
        None => Err("there is no schema p99: `p99 store migrate` makes it".to_owned()),
        Some(version) => is_too_new(version).map_or(Ok(()), Err),
    }
}

/// Looks whether an instance can run with what STORE says.
///
/// # Errors
/// No host that writes lets it in.
pub async fn check(place: &StorePlace) -> Result<Findings, String> {
    let mut connection = writing(place).await?;
    let mut found = Findings::default();
    let facts = connection.facts();
    found.facts.push(format!(
        "{} writes; PostgreSQL {}",
        connection.host(),
        facts.version
    ));
    if !facts.version.starts_with("15.") {
        let other = "PostgreSQL 15 is what p99 is tested with".to_owned();
        found.warnings.push(other);
    }
    let Some(is) = version(&mut connection).await? else {
        let missing = "there is no schema p99, or this role may not see it: run \
                       `p99 store migrate --role ROLE` as a role that may make it";
        found.faults.push(missing.to_owned());
        return Ok(found);
    };
    match is_too_new(is) {
        Some(why) => found.faults.push(why),
        None => found.facts.push(format!("the schema has version {is}")),
    }
    check_rights(&mut connection, &mut found).await?;
    check_settings(&mut connection, &mut found).await?;
    check_replication(&mut connection, &mut found).await?;
    let importing = "SELECT importing FROM p99.meta WHERE one = 1";
    if value(&mut connection, importing).await?.as_deref() != Some("f") {
        let wait = "it takes no payments yet: `p99 store import --done` when all is imported";
        found.waits.push(wait.to_owned());
    }
    let writers = "SELECT count(*), count(*) FILTER (WHERE lease_until >= now()) FROM p99.writer \
                   WHERE writer > 0";
    if let Some([Some(all), Some(live)]) = connection
        .simple(writers)
        .await?
        .first()
        .map(|row| &row[..])
    {
        found
            .facts
            .push(format!("writers: {all}, with a lease: {live}"));
    }
    Ok(found)
}

async fn check_rights(connection: &mut Connection, found: &mut Findings) -> Result<(), String> {
    for table in TABLES {
        for right in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
            let has = format!("SELECT has_table_privilege('p99.{table}', '{right}')");
            if value(connection, &has).await?.as_deref() != Some("t") {
                found.faults.push(format!(
                    "no right to {right} on p99.{table}: `p99 store migrate --role` gives it"
                ));
            }
        }
    }
    Ok(())
}

async fn check_settings(connection: &mut Connection, found: &mut Findings) -> Result<(), String> {
    for (name, wanted) in ROLE_SETTINGS {
        let is = value(connection, &format!("SELECT current_setting('{name}')")).await?;
        if is.as_deref() != Some(wanted) {
            let is = is.unwrap_or_default();
            found.faults.push(format!(
                "{name} is {is} for this role and must be {wanted}: `p99 store migrate --role` \
                 sets it"
            ));
        }
    }
    Ok(())
}

async fn check_replication(
    connection: &mut Connection,
    found: &mut Findings,
) -> Result<(), String> {
    let setting = |name| format!("SELECT current_setting('{name}')");
    let commit = value(connection, &setting("synchronous_commit"))
        .await?
        .unwrap_or_default();
    if commit == "off" || commit == "local" {
        found.warnings.push(format!(
            "synchronous_commit is {commit}: WHAT IS ACKNOWLEDGED CAN BE LOST, and a payment \
             charged twice after that"
        ));
    }
    let fsync = value(connection, &setting("fsync"))
        .await?
        .unwrap_or_default();
    if fsync == "off" {
        let lost = "fsync is off: A POWER CUT LOSES WHAT IS ACKNOWLEDGED";
        found.warnings.push(lost.to_owned());
    }
    let standbys = value(connection, &setting("synchronous_standby_names")).await?;
    if standbys.unwrap_or_default().is_empty() {
        found.warnings.push(
            "synchronous_standby_names is empty: acknowledged means on ONE disk, and a failover \
             loses what was not replicated"
                .to_owned(),
        );
    }
    Ok(())
}
