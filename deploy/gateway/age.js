// How old a kept answer is: what it said itself when it came, and the seconds since then.
function of_kept(request) {
    const answer = request.variables;
    const since = (Date.now() - Date.parse(answer.upstream_http_date)) / 1000;
    return String(Number(answer.upstream_http_age || 0) + Math.max(0, Math.floor(since)));
}

export default { of_kept };
