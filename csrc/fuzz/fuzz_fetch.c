/* What sources answer to fixed requests: frames of a peer (first byte % 3 = 0), files (1) or a range (2) of a stock rsyncd.
 * Second byte: bytes fed at a time (0: all). Whatever comes, records lie within the shared memory. */
#include "fuzz_tools.h"
#include "api/fetch_api.h"

#define SLOT 4096u
#define SLOTS 6u

static void put_entry(ps_buf *b, const char *path, u64 size, u64 offset, u64 length) {
    static const u8 digest[32];
    buf_u16(b, (u16)strlen(path));
    buf_put(b, path, strlen(path));
    buf_u64(b, size), buf_u64(b, 1000);
    buf_put(b, digest, sizeof digest);
    buf_u64(b, offset), buf_u64(b, length);
}

static void check_records(ps_fetch_memory *m) {
    u32 count;
    const u8 *records = ps_fetch_memory_records(m, &count);
    ps_reader r = rd_make(records, (size_t)count * PS_RECORD_BYTES);
    for (u32 i = 0; i < count; i++) {
        u32 slot = rd_u32(&r), offset = rd_u32(&r), length = rd_u32(&r);
        rd_u32(&r), rd_u32(&r);
        u32 kind = rd_u32(&r);
        rd_u64(&r);
        if (kind == PS_RECORD_DATA && (slot >= SLOTS || offset > SLOT || length > SLOT - offset)) abort();
    }
    ps_fetch_memory_taken(m);
    if (ps_fetch_memory_consumed(m, count) != PS_OK) abort();
}

static void peer(ps_ctx *c, ps_fetch_memory *m, const u8 *data, size_t size, size_t step) {
    ps_buf entries = {0};
    put_entry(&entries, "one", 10, 0, 10);
    put_entry(&entries, "two", 100000, 5000, 60000);
    ps_fetch *f = ps_fetch_new(c, m);
    ps_fetch_request(f, 1, entries.data, entries.len, 2);
    ps_fetch_request(f, 2, entries.data, entries.len, 2);
    ps_fetch_cancel(f, 2);
    for (size_t at = 0; at < size; at += step) {
        size_t n = size - at < step ? size - at : step, room = 0;
        u8 *place = step % 2 ? ps_fetch_room(f, &room) : NULL; /* odd steps: received in place */
        if (place && n <= room) memcpy(place, data + at, n);
        if ((place && n <= room ? ps_fetch_placed(f, n) : ps_fetch_feed(f, data + at, n)) != PS_OK) break;
        int status = PS_FULL;
        for (int i = 0; i < 3000 && (status == PS_OK || status == PS_FULL); i++) {
            status = ps_fetch_step(f);
            check_records(m);
            ps_fetch_frames_clear(f);
            fuzz_drain(c);
        }
        if (status != PS_AGAIN) break;
    }
    ps_fetch_free(f);
    buf_free(&entries);
}

static void rsyncd(ps_ctx *c, ps_fetch_memory *m, const u8 *data, size_t size, size_t step, bool append) {
    ps_buf entries = {0};
    if (append) put_entry(&entries, "b", 300000, 140000, 20000);
    else {
        put_entry(&entries, "a", 3000, 0, 3000);
        put_entry(&entries, "b", 300000, 0, 100000);
        put_entry(&entries, "b", 300000, 140000, 20000);
    }
    ps_rsyncd *r = ps_rsyncd_new(c, m, 1, entries.data, entries.len, append ? 1 : 3, append);
    if (!r) abort();
    for (size_t at = 0; at < size; at += step) {
        if (ps_rsyncd_feed(r, data + at, size - at < step ? size - at : step) != PS_OK) break;
        int status = PS_FULL;
        for (int i = 0; i < 3000 && (status == PS_OK || status == PS_FULL); i++) {
            status = ps_rsyncd_step(r);
            check_records(m);
            size_t n;
            ps_rsyncd_out(r, &n);
            ps_rsyncd_sent(r, n);
            fuzz_drain(c);
        }
        if (status != PS_AGAIN) break;
    }
    ps_rsyncd_free(r);
    buf_free(&entries);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static u8 memory[SLOT * SLOTS];
    u8 head[2];
    fuzz_take(&data, &size, head, sizeof head);
    ps_ctx *c = ps_ctx_new();
    ps_opts *o = ps_ctx_opts(c);
    o->role = PS_ROLE_RECEIVER;
    o->protocol = 32 - (head[0] >> 2) % 3;
    o->safe_flist = o->proper_seed_order = o->times = o->implied_dirs = 1;
    o->varint_flist_flags = o->id0_names = o->protocol > 30;
    o->relative = head[0] % 3 == 1;
    o->append = head[0] % 3 == 2;
    o->xfer_sum = o->file_sum = PS_SUM_XXH128;
    o->max_size = o->min_size = -1;
    ps_fetch_memory *m = ps_fetch_memory_new(memory, SLOT, SLOTS);
    size_t step = head[1] ? head[1] : size + 1;
    if (head[0] % 3 == 0) peer(c, m, data, size, step);
    else rsyncd(c, m, data, size, step, head[0] % 3 == 2);
    ps_fetch_memory_free(m);
    ps_ctx_free(c);
    return 0;
}
