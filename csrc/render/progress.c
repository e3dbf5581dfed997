/* --progress, --info=progress1 and progress2: rsync's lines, rendered into the log stream so that they keep their place
 * between the names. */
#include "render/render.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "api/render_api.h"

#define HISTORY 5 /* seconds that a rate is taken over */

typedef struct moment {
    i64 ms, offset; /* ms 0: not set */
} moment;

struct ps_progress {
    ps_ctx *c;
    moment start, history[HISTORY];
    u32 newest, oldest;
    i32 file_index;
    int last_len;
    pid_t group;
};

static i64 now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (i64)t.tv_sec * 1000 + t.tv_nsec / 1000000 + 1;
}

ps_progress *progress_new(ps_ctx *c) {
    ps_progress *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    p->c = c;
    p->group = getpgrp();
    if (c->o.info_progress > 1) p->start.ms = now_ms();
    return p;
}

void progress_free(ps_progress *p) { free(p); }

/* Entries are counted without the numbers that lie between lists. */
void progress_file(ps_progress *p, const ps_flists *all, const ps_flist *current, u32 gone, i32 ndx) {
    i32 number = p->c->o.inc_recurse ? (i32)gone + 1 : 0;
    for (const ps_flist *l = all->first; l && l != current; l = l->next) number++;
    p->file_index = ndx - number;
}

static void render(ps_progress *p, i64 offset, i64 size, i64 now, bool last, bool list_complete) {
    ps_ctx *c = p->c;
    char eol[128] = "  ", left[32], number[64];
    const char *units = "kB/s";
    double rate, remain;
    if (last) {
        int len = snprintf(eol, sizeof eol, " (xfr#%d, %s-chk=%d/%d)\n", c->stats.xferred_files, list_complete ? "to" : "ir",
                           c->stats.num_files - p->file_index - 1, c->stats.num_files);
        if (c->o.info_progress > 1) {
            if (p->last_len < --len) p->last_len = len;
            memset(eol + len, ' ', (size_t)(p->last_len - len));
            eol[p->last_len] = 0;
            p->last_len = len;
        }
        i64 took = p->start.ms && now > p->start.ms ? now - p->start.ms : 1;
        rate = (double)(offset - p->start.offset) * 1000.0 / (double)took / 1024.0;
        remain = (double)took / 1000.0;
    } else {
        const moment *old = &p->history[p->oldest];
        i64 took = now > old->ms ? now - old->ms : 1;
        rate = (double)(offset - old->offset) * 1000.0 / (double)took / 1024.0;
        remain = rate > 0 ? (double)(size - offset) / rate / 1000.0 : 0.0;
    }
    if (rate > 1024 * 1024) {
        rate /= 1024.0 * 1024.0;
        units = "GB/s";
    } else if (rate > 1024) {
        rate /= 1024.0;
        units = "MB/s";
    }
    if (remain < 0 || remain > 9999.0 * 3600.0)
        strcpy(left, "  ??:??:??");
    else
        snprintf(left, sizeof left, "%4u:%02u:%02u", (unsigned)(remain / 3600.0), (unsigned)(remain / 60.0) % 60,
                 (unsigned)remain % 60);
    int percent = offset == size || size <= 0 ? 100 : (int)(100.0 * (double)offset / (double)size);
    ps_big_num(offset, c->o.human_readable, number);
    ps_log(c, PS_LOG_CLIENT, "\r%15s %3d%% %7.2f%s %s%s", number, percent, rate, units, left, eol);
}

void progress_show(ps_progress *p, i64 offset, i64 size) {
    if (p->c->o.am_server) return;
    i64 now = now_ms();
    if (p->c->o.info_progress > 1) {
        offset = p->c->stats.total_transferred_size - size + offset;
        size = p->c->stats.total_size;
    }
    if (!p->start.ms) {
        /* The sender began about when the last file's last bytes came, if that was just now. */
        const moment *last = &p->history[p->newest];
        if (last->ms && now - last->ms <= 1500)
            p->start = (moment){last->ms, 0};
        else
            p->start = (moment){now, offset};
        for (int i = 0; i < HISTORY; i++) p->history[i] = p->start;
    } else {
        if (now - p->history[p->newest].ms < 1000) return;
        p->newest = p->oldest;
        p->oldest = (p->oldest + 1) % HISTORY;
        p->history[p->newest] = (moment){now, offset};
    }
    pid_t shown = tcgetpgrp(STDOUT_FILENO);
    if (shown != p->group && shown != -1) return;
    render(p, offset, size, now, false, false);
}

void progress_end(ps_progress *p, i64 size, bool list_complete) {
    if (p->c->o.am_server) return;
    if (p->c->o.info_progress > 1) {
        render(p, p->c->stats.total_transferred_size, p->c->stats.total_size, now_ms(), true, list_complete);
        return;
    }
    render(p, size, size, now_ms(), true, list_complete);
    p->start = (moment){0, 0};
}

void progress_list_ended(ps_progress *p, const ps_flists *all, const ps_flist *current, u32 gone) {
    progress_file(p, all, current, gone, current->ndx_start + (i32)current->count - 1);
    if (p->c->o.info_progress > 1) progress_end(p, 0, all->eof);
}
