/* --list-only: generator.c:list_file_entry for all entries of a list. */
#include "filelist/flist.h"
#include "filelist/xmit.h"
#include "fs/mode_text.h"

#include <stdio.h>
#include <time.h>

/* lib/compat.c:do_big_num: level 0 plain, 1 with commas, 2 and 3 with units of 1000 and 1024. */
static void big_number(i64 n, int level, char out[40]) {
    i64 unit = level == 2 ? 1000 : 1024;
    if (level > 1 && (n >= unit || n <= -unit)) {
        double v = (double)n / (double)unit;
        int power = 0;
        while (power < 4 && (v >= (double)unit || v <= -(double)unit)) v /= (double)unit, power++;
        snprintf(out, 40, "%.2f%c", v, "KMGTP"[power]);
        return;
    }
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%lld", (long long)n), at = 0;
    for (int i = 0; i < count; i++) {
        out[at++] = digits[i];
        int left = count - 1 - i;
        if (level && left && left % 3 == 0 && digits[i] != '-') out[at++] = ',';
    }
    out[at] = 0;
}

static void local_time(i64 t, char out[20]) {
    struct tm tm;
    time_t when = (time_t)t;
    if (!localtime_r(&when, &tm)) {
        memcpy(out, "(time out of range)", 20);
        return;
    }
    char text[80];
    snprintf(text, sizeof text, "%4d/%02d/%02d %02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
             tm.tm_sec);
    text[19] = 0;
    memcpy(out, text, 20);
}

int flist_render_listing(ps_ctx *c, const ps_flists *all, const ps_flist *l) {
    int level = c->o.human_readable, width = level ? 14 : 11;
    char line[3 * PS_LIMIT_NAME], perms[11], size[40], when[20] = "", path[PS_LIMIT_NAME + 2];
    i64 last_time = INT64_MIN;
    for (u32 i = 0; i < l->count; i++) {
        const ps_file *f = &l->files[i];
        if (!file_active(f)) continue;
        perm_string(f->mode, perms);
        big_number(f->size, level, size);
        if (f->mtime != last_time) local_time(last_time = f->mtime, when);
        const char *target = c->o.links && S_ISLNK(f->mode) ? file_link(l, f) : NULL;
        file_path(all, l, f, path);
        int n = snprintf(line, sizeof line, "%s %*s %s %s%s%s\n", perms, width, size, when, path, target ? " -> " : "",
                         target ? target : "");
        ps_log_bytes(c, PS_LOG_INFO, line, (size_t)n);
        if (c->log.failed) return ps_fail_memory(c, "the listing");
    }
    return PS_OK;
}

int ps_flists_render_listing(ps_ctx *c, const ps_flists *all, int32_t ndx_start) {
    const ps_flist *l = all->first;
    while (l && l->ndx_start != ndx_start) l = l->next;
    return l ? flist_render_listing(c, all, l) : ps_fail(c, 12, 0, "no file list begins with index %d", ndx_start);
}
