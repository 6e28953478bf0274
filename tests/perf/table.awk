# SPDX-License-Identifier: Apache-2.0
# Lines "tool phase wall cpu peak store" -> markdown tables with medians and ratios to the fastest peer.
function median(key, n, i, j, t, list) {
    n = count[key]
    for (i = 1; i <= n; i++) list[i] = value[key, i] + 0
    for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j] < list[j - 1]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}
function add(key, v) { value[key, ++count[key]] = v }
# "agent=123,collector=456": the greatest of each name over the rounds.
function add_peak(key, text, parts, pair, n, i) {
    n = split(text, parts, ",")
    for (i = 1; i <= n; i++) {
        if (split(parts[i], pair, "=") < 2) { pair[2] = pair[1]; pair[1] = "" }
        if (!((key, pair[1]) in peak)) names[key] = names[key] " " pair[1] "|"
        if (pair[2] + 0 > peak[key, pair[1]]) peak[key, pair[1]] = pair[2] + 0
    }
}
function peak_text(key, parts, n, i, text, name) {
    n = split(names[key], parts, "|")
    for (i = 1; i < n; i++) {
        name = substr(parts[i], 2)
        text = text (i > 1 ? ", " : "") (name == "" ? "" : name " ") int(peak[key, name] / 1024 + 0.5)
    }
    return text
}
{
    if (!($1 in seen)) { seen[$1] = 1; order[++tools] = $1 }
    add($1 SUBSEP $2 SUBSEP "wall", $3)
    add($1 SUBSEP $2 SUBSEP "cpu", $4)
    add_peak($1 SUBSEP $2, $5)
    add($1 SUBSEP $2 SUBSEP "store", $6)
}
END {
    phases = split("full second restore", phase, " ")
    for (p = 1; p <= phases; p++) {
        best = 0
        for (t = 1; t <= tools; t++) {
            w = median(order[t] SUBSEP phase[p] SUBSEP "wall")
            if (order[t] != "varve" && (best == 0 || w < best)) best = w
        }
        printf "**%s**\n\n", phase[p]
        print "| | wall s | CPU s | peak memory MiB | " (phase[p] == "second" ? "growth MB | growth / changed | " : (phase[p] == "full" ? "store MB | " : "")) "fastest peer / this |"
        print "|---|---|---|---|" (phase[p] == "second" ? "---|---|" : (phase[p] == "full" ? "---|" : "")) "---|"
        for (t = 1; t <= tools; t++) {
            tool = order[t]
            key = tool SUBSEP phase[p]
            wall = median(key SUBSEP "wall")
            line = sprintf("| %s | %.2f | %.1f | %s |", tool, wall, median(key SUBSEP "cpu"), peak_text(key))
            store = median(key SUBSEP "store")
            if (phase[p] == "full") line = line sprintf(" %.0f |", store / 1e6)
            if (phase[p] == "second") {
                growth = store - median(tool SUBSEP "full" SUBSEP "store")
                line = line sprintf(" %.1f | %.2f |", growth / 1e6, growth / changed)
            }
            print line (best > 0 && wall > 0 ? sprintf(" %.1fx |", best / wall) : " |")
        }
        print ""
    }
}
