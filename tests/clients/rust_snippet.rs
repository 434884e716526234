pub fn cleanup(url: &str) -> redis::RedisResult<String> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    redis::cmd("BLOCKING.CLEANUP")
        .arg("JSON")
        .query(&mut connection)
}

pub fn cleanup_without_waiting(url: &str) -> redis::RedisResult<String> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    let run: u64 = redis::cmd("BLOCKING.CLEANUP")
        .arg("ASYNC")
        .query(&mut connection)?;
    loop {
        // A number to read, where BLOCKING.STATUS is a large text.
        let info: redis::InfoDict = redis::cmd("INFO").arg("blocking").query(&mut connection)?;
        if info.get("blocking_last_run").unwrap_or(0) >= run {
            return redis::cmd("BLOCKING.STATUS")
                .arg("JSON")
                .query(&mut connection);
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}
