# Medians, spreads and verdicts of the benchmarks. Sourced.

# The median of numbers, one a line.
median() { grep . | sort -g | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

# How far apart the second smallest and the second largest are, in percent of the median.
wide() {
    grep . | sort -g | awk '{ v[NR] = $1 } END {
        m = (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2; cut = NR > 3
        printf "%.0f", (m > 0 ? 100 * (v[NR - cut] - v[1 + cut]) / m : 0)
    }'
}

# column N LINES: one column of measurements.
column() { cut -d' ' -f"$1" <<<"$2"; }

# figure NAME WHAT OPERATOR AIM OF TO: the ratio of the medians of OF and TO, what it is to be, and whether it is.
figure() {
    local spread verdict value
    value=$(awk -v a="$(median <<<"$5")" -v b="$(median <<<"$6")" 'BEGIN { if (b > 0) printf "%.2f", a / b; else print "?" }')
    spread=$(printf '%s\n' "$(wide <<<"$5")" "$(wide <<<"$6")" | sort -g | tail -1)
    verdict=$(awk -v value="$value" -v aim="$4" -v operator="$3" 'BEGIN {
        print (operator == ">=" ? value + 0 >= aim + 0 : value + 0 <= aim + 0) ? "met" : "missed"
    }')
    [ "$spread" -le "$WIDEST" ] || verdict='NO CONCLUSION, the machine is too busy'
    printf '%-9s %s %s (aim: %s %s): %s; spread %s %%\n' "$1" "$value" "$2" "$3" "$4" "$verdict" "$spread"
}

# CPU time of a process and its children, in ticks of 10 ms.
ticks() { cat "/proc/$1/stat" $(pgrep -P "$1" | sed 's|.*|/proc/&/stat|') | awk '{ n += $14 + $15 } END { print n }'; }
