//! Logging: to standard error, so that standard output stays for results.

use tracing_subscriber::EnvFilter;

use super::AppError;

/// Starts logging with a filter such as `info` or `quorate=debug,h2=warn`. A second call changes nothing.
pub fn init(filter: &str) -> Result<(), AppError> {
    let parsed = EnvFilter::try_new(filter)
        .map_err(|error| AppError::LogFilter { filter: filter.into(), reason: error.to_string() })?;
    // Fails only if logging was started before: by a test, or by a program that has us as its library.
    tracing_subscriber::fmt().with_env_filter(parsed).with_writer(std::io::stderr).try_init().ok();
    Ok(())
}
