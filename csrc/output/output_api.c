#include "output/output.h"

#include <stdlib.h>
#include <unistd.h>

#include "api/output_api.h"

struct ps_out_file {
    ps_outs *outs;
    ps_out *out;
    ps_file file;
    uint64_t size;
};

ps_out_file *ps_out_file_open(ps_ctx *c, struct ps_root *root, const char *path, uint32_t mode, int64_t mtime) {
    ps_out_file *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    f->file = (ps_file){.mode = S_IFREG | (mode & 07777), .mtime = mtime, .uid = geteuid(), .gid = getegid()};
    f->outs = outs_new(c, root);
    f->out = f->outs && strlen(path) <= PS_LIMIT_NAME ? out_open(f->outs, &f->file, 0, path, 0) : NULL;
    if (f->out) return f;
    if (f->outs) outs_free(f->outs);
    free(f);
    return NULL;
}

static void close_file(ps_out_file *f) {
    outs_free(f->outs);
    free(f);
}

int ps_out_file_digest(ps_out_file *f, uint64_t size, const uint8_t *pieces, const uint8_t *root) {
    f->size = size;
    return out_set_digest(f->out, size, pieces, root);
}

int ps_out_file_write(ps_out_file *f, int64_t offset, const uint8_t *data, size_t n) {
    out_note_data(f->out);
    return out_write(f->out, offset, data, n);
}

int ps_out_file_copy(ps_out_file *f, int64_t offset, int64_t len, int from, int64_t from_offset) {
    return out_copy(f->out, offset, len, from, from_offset);
}

int ps_out_file_piece(ps_out_file *f, uint64_t index) { return (int)out_piece(f->out, index); }
void ps_out_file_again(ps_out_file *f, uint64_t index) { out_piece_again(f->out, index); }

bool ps_out_file_missing(ps_out_file *f, uint64_t *at, uint64_t *len) { return out_missing(f->out, f->size, at, len); }

int ps_out_file_finish(ps_out_file *f, int64_t size, bool verified) {
    int result = (int)out_finish(f->out, size, verified, false);
    close_file(f);
    return result;
}

void ps_out_file_abort(ps_out_file *f, bool may_keep) {
    out_abort(f->out, may_keep);
    close_file(f);
}
