/* What Python calls: csrc/api/flist_api.h. */
#include "filelist/decoder.h"
#include "filelist/lister.h"

#include <stdlib.h>

ps_flists *ps_flists_new(ps_ctx *c) { return flists_new(c); }
void ps_flists_free(ps_flists *all) { flists_free(all); }

ps_root *ps_root_open(ps_ctx *c, const char *path, bool create) { return root_open(c, path, create); }
ps_root *ps_root_from_fd(ps_ctx *c, int fd) { return root_from_fd(c, fd); }
void ps_root_is_whole(ps_root *r) { root_is_whole(r); }
void ps_root_free(ps_root *r) { root_free(r); }
int ps_root_fd(const ps_root *r) { return root_fd(r); }

ps_flist_decoder *ps_flist_decoder_new(ps_ctx *c, ps_flists *all, ps_rules *rules) { return flist_decoder_new(c, all, rules); }
void ps_flist_decoder_free(ps_flist_decoder *d) { flist_decoder_free(d); }
int ps_flist_decoder_imply(ps_flist_decoder *d, const char *arg, size_t len, bool skip_module) {
    return flist_decoder_imply(d, arg, len, skip_module);
}
int ps_flist_decoder_begin(ps_flist_decoder *d, int32_t parent) { return flist_decoder_begin(d, parent); }

/* ---- feeding by hand ------------------------------------------------------------------------- */

struct ps_flist_feeder {
    ps_ctx *ctx;
    ps_flist_decoder *decoder;
    ps_mux_in mux;
};

ps_flist_feeder *ps_flist_feeder_new(ps_ctx *c, ps_flist_decoder *d, bool plain) {
    ps_flist_feeder *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    f->ctx = c;
    f->decoder = d;
    mux_in_init(&f->mux);
    f->mux.plain = plain;
    return f;
}

void ps_flist_feeder_free(ps_flist_feeder *f) {
    if (!f) return;
    mux_in_free(&f->mux);
    free(f);
}

static int drop_message(void *owner, u32 code, const u8 *data, u32 len) {
    (void)owner, (void)code, (void)data, (void)len;
    return PS_OK;
}

int ps_flist_feed(ps_flist_feeder *f, const uint8_t *data, size_t len, size_t *used) {
    u8 *copy = malloc(len ? len : 1);
    if (!copy) return ps_fail_memory(f->ctx, "input");
    if (len) memcpy(copy, data, len);
    mux_in_feed(&f->mux, copy, len);
    int status = flist_decode(f->decoder, &f->mux, drop_message, NULL);
    *used = (size_t)(f->mux.raw - copy) - buf_used(&f->mux.stage);
    if (status == PS_DONE && f->mux.plain) buf_clear(&f->mux.stage);
    free(copy);
    f->mux.raw = f->mux.raw_end = NULL;
    return status;
}

/* ---- single entries ---------------------------------------------------------------------------- */

bool ps_flists_row(const ps_flists *all, int32_t ndx, ps_flist_row *row) {
    ps_flist *l;
    const ps_file *f = flists_file(all, ndx, &l);
    if (!f) return false;
    const ps_file_extra *x = file_extra(l, f);
    *row = (ps_flist_row){.size = f->size, .mtime = f->mtime, .mtime_ns = f->mtime_ns, .mode = f->mode, .uid = f->uid, .gid = f->gid,
                          .flags = f->flags, .link_group = -1, .link_previous = -1, .sum_len = l->sums ? l->sum_len : 0};
    row->path_len = (u32)file_path(all, l, f, row->path);
    if (x) {
        row->link_group = x->hlink;
        row->link_previous = x->hlink_prev;
        row->rdev_major = x->rdev_major;
        row->rdev_minor = x->rdev_minor;
    }
    const char *target = file_link(l, f);
    if (target) {
        row->target_len = x->link_len;
        memcpy(row->target, target, x->link_len);
    }
    if (l->sums) memcpy(row->sum, l->sums + (size_t)(f - l->files) * l->sum_len, l->sum_len);
    return true;
}

uint32_t ps_flists_count(const ps_flists *all) { return all->list_count; }

bool ps_flists_range(const ps_flists *all, uint32_t list, int32_t *ndx_start, uint32_t *count, uint32_t *low, uint32_t *high,
                     int32_t *parent) {
    const ps_flist *l = all->first;
    while (l && list--) l = l->next;
    if (!l) return false;
    *ndx_start = l->ndx_start;
    *count = l->count;
    *low = l->low;
    *high = l->high;
    *parent = l->parent_ndx;
    return true;
}

bool ps_flists_eof(const ps_flists *all) { return all->eof; }
void ps_flists_drop_first(ps_flists *all) { flists_drop_first(all); }

/* ---- the lister ---------------------------------------------------------------------------------- */

ps_lister *ps_lister_new(ps_ctx *c, ps_flists *all, ps_rules *rules, ps_root *root) { return lister_new(c, all, rules, root); }
void ps_lister_free(ps_lister *l) { lister_free(l); }
int ps_lister_arg(ps_lister *l, const char *path, size_t len) { return lister_arg(l, path, len); }
int ps_lister_from_anywhere(ps_lister *l, const char *start, size_t len) { return lister_from_anywhere(l, start, len); }
int ps_lister_files_from(ps_lister *l, const char *name, size_t len) { return lister_files_from(l, name, len); }

struct ps_lister_tap {
    ps_ctx *ctx;
    ps_lister *lister;
    ps_mux_out mux;
    ps_ndx_state ndx;
};

ps_lister_tap *ps_lister_tap_new(ps_ctx *c, ps_lister *l) {
    ps_lister_tap *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->ctx = c;
    t->lister = l;
    t->ndx = ndx_state_make();
    mux_out_init(&t->mux);
    t->mux.plain = true;
    return t;
}

void ps_lister_tap_free(ps_lister_tap *t) {
    if (!t) return;
    mux_out_free(&t->mux);
    free(t);
}

int ps_lister_tap_run(ps_lister_tap *t, int32_t more, const uint8_t **out, size_t *len) {
    buf_clear(&t->mux.out);
    int status = more < 0 ? lister_first(t->lister, &t->mux) : lister_more(t->lister, &t->mux, &t->ndx, more);
    *out = buf_head(&t->mux.out);
    *len = buf_used(&t->mux.out);
    return status == PS_OK && more < 0 ? lister_ready(t->lister) : status;
}
