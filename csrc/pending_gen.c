/* A weak stand-in for the generator: asks for every file as a whole, compares nothing. Goes when the generator lands. */
#include "pending.h"
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#define WEAK __attribute__((weak))
struct ps_gen {
    ps_ctx *c;
    ps_flists *all;
    ps_root *root;
    ps_flist *cur, *last;
    u32 at;
    int ended, sent;
    i32 redo[1024];
    u32 redo_count;
    bool closed;
};
WEAK ps_gen *gen_new(ps_ctx *c, ps_flists *all, ps_rules *rules, ps_root *dest) {
    (void)rules;
    ps_gen *g = calloc(1, sizeof *g);
    if (!g) return NULL;
    g->c = c, g->all = all, g->root = dest, g->cur = all->first;
    return g;
}
WEAK void gen_free(ps_gen *g) { free(g); }
static void request(ps_gen *g, ps_mux_out *out, ps_ndx_state *ndx, i32 n, bool transfer) {
    ps_buf b = {0};
    buf_ndx(&b, ndx, g->c->o.protocol, n);
    if (n >= 0) {
        buf_u16(&b, transfer ? PS_ITEM_TRANSFER | PS_ITEM_IS_NEW : PS_ITEM_LOCAL_CHANGE | PS_ITEM_IS_NEW);
        if (transfer && !g->c->o.dry_run)
            for (int i = 0; i < 4; i++) buf_u32(&b, 0);
    }
    mux_out_data(out, b.data, b.len);
    buf_free(&b);
}
static void release(ps_gen *g, ps_mux_out *out, ps_ndx_state *ndx) {
    for (ps_flist *l = g->all->first; l && g->c->o.inc_recurse; l = l->next) {
        if (l->done_sent) continue;
        if (l == g->cur || l->in_progress || l->to_redo || (!l->next && !g->all->eof)) return;
        request(g, out, ndx, PS_NDX_DONE, false);
        l->done_sent = true;
    }
}
WEAK int gen_step(ps_gen *g, ps_mux_out *out, ps_ndx_state *ndx) {
    char path[PS_LIMIT_NAME + 1];
    const char *base;
    while (g->redo_count) {
        i32 n = g->redo[--g->redo_count];
        ps_flist *l;
        if (flists_file(g->all, n, &l)) request(g, out, ndx, n, true), l->to_redo--, l->in_progress++;
    }
    if (!g->cur && g->last && g->last->next) g->cur = g->last->next, g->at = 0;
    if (g->cur) {
        for (int steps = 0; steps < 500; steps++) {
            if (g->at >= g->cur->count) {
                g->last = g->cur;
                g->cur = g->cur->next;
                g->at = 0;
                if (!g->c->o.inc_recurse) {
                    request(g, out, ndx, PS_NDX_DONE, false);
                    g->sent = 1;
                }
                release(g, out, ndx);
                return PS_OK;
            }
            ps_file *f = &g->cur->files[g->at];
            i32 n = g->cur->ndx_start + (i32)g->at++;
            if (!file_active(f)) continue;
            if (ps_str(g->c, PS_STR_LOCAL_NAME))
                strcpy(path, ps_str(g->c, PS_STR_LOCAL_NAME));
            else
                file_path(g->all, g->cur, f, path);
            if (S_ISREG(f->mode)) {
                if (!g->c->o.dry_run) g->cur->in_progress++;
                request(g, out, ndx, n, true);
                continue;
            }
            int dir = g->root ? root_parent(g->root, path, &base) : -1;
            if (dir < 0) continue;
            if (S_ISDIR(f->mode)) mkdirat(dir, base, 0755);
            if (S_ISLNK(f->mode) && file_link(g->cur, f)) symlinkat(file_link(g->cur, f), dir, base) ? (void)0 : (void)0;
        }
        return buf_used(&out->out) > PS_SEND_HIGH_WATER ? PS_FULL : PS_OK;
    }
    release(g, out, ndx);
    if (!g->all->eof) return PS_AGAIN;
    if (!g->ended) return PS_AGAIN;
    int total = g->c->o.protocol >= 31 ? 4 : 3;
    if (g->ended == 1 && g->sent < 2) {
        request(g, out, ndx, PS_NDX_DONE, false);
        g->sent = 2;
    }
    if (g->ended < 2) return PS_AGAIN;
    while (g->sent < total) request(g, out, ndx, PS_NDX_DONE, false), g->sent++;
    if (g->ended < total) return PS_AGAIN;
    if (!g->closed) request(g, out, ndx, PS_NDX_DONE, false);
    g->closed = true;
    return PS_DONE;
}
WEAK int gen_settled(ps_gen *g, i32 ndx, ps_settled how) {
    ps_flist *l;
    if (!flists_file(g->all, ndx, &l)) return PS_OK;
    l->in_progress--;
    if (how == PS_SETTLED_REDO && g->redo_count < 1024) l->to_redo++, g->redo[g->redo_count++] = ndx;
    return PS_OK;
}
WEAK void gen_phase_ended(ps_gen *g) {
    g->ended++;
    if (g->ended == 1 && g->sent < 1) g->sent = 1;
}
WEAK int gen_first_list_done(ps_gen *g) {
    if (!g->all->first || !g->all->first->done_sent) return ps_fail(g->c, 2, 0, "list not done");
    if (g->last == g->all->first) g->last = NULL;
    flists_drop_first(g->all);
    return PS_OK;
}
