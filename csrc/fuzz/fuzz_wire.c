/* Numbers and strings of the wire, and the multiplexed stream: a value, a refusal, or a wish for more; what is decoded comes
 * out again when it is encoded. */
#include "fuzz_tools.h"
#include "wire/mux.h"

static int on_message(void *owner, u32 code, const u8 *data, u32 len) {
    u64 *sum = owner;
    *sum += code;
    for (u32 i = 0; i < len; i++) *sum += data[i];
    return *sum % 7 ? PS_OK : PS_FULL;
}

static void numbers(const u8 *data, size_t size, int protocol) {
    ps_reader r = rd_make(data, size);
    ps_ndx_state in = ndx_state_make(), out = ndx_state_make(), back = ndx_state_make();
    for (int i = 0; rd_left(&r) && rd_ok(&r); i++) {
        ps_buf b = {0};
        if (i % 6 == 0) {
            i32 v = rd_varint(&r);
            buf_varint(&b, v);
            ps_reader again = rd_make(b.data, b.len);
            if (rd_ok(&r) && rd_varint(&again) != v) abort();
        } else if (i % 6 == 1) {
            i64 v = rd_varlong(&r, 3 + i % 2);
            buf_varlong(&b, v, 3 + i % 2);
            ps_reader again = rd_make(b.data, b.len);
            if (rd_ok(&r) && rd_varlong(&again, 3 + i % 2) != v) abort();
        } else if (i % 6 == 2) {
            i64 v = rd_longint(&r);
            buf_longint(&b, v);
            ps_reader again = rd_make(b.data, b.len);
            if (rd_ok(&r) && rd_longint(&again) != v) abort();
        } else if (i % 6 == 3) {
            size_t n;
            const u8 *s = rd_vstring(&r, 300, &n);
            if (rd_ok(&r) && (n > 300 || (n && s[0] + s[n - 1] == 511))) abort();
        } else if (i % 6 == 4) {
            i32 v = rd_ndx(&r, &in, protocol);
            if (rd_ok(&r)) {
                buf_ndx(&b, &out, protocol, v);
                ps_reader again = rd_make(b.data, b.len);
                if (rd_ndx(&again, &back, protocol) != v) abort();
            }
        } else {
            rd_varint30(&r, protocol);
            rd_varlong30(&r, protocol, 3);
        }
        buf_free(&b);
    }
}

static void stream(const u8 *data, size_t size, size_t step) {
    ps_ctx *c = ps_ctx_new();
    ps_mux_in m;
    u64 sum = 0, budget = 5000;
    mux_in_init(&m);
    for (size_t at = 0; at < size; at += step) {
        mux_in_feed(&m, data + at, size - at < step ? size - at : step);
        for (;;) {
            const u8 *span;
            size_t n = 0;
            int status = sum % 3 ? mux_fill(c, &m, 1 + sum % 100, on_message, &sum) : mux_span(c, &m, &span, &n, on_message, &sum);
            if (status == PS_FAIL || !budget--) goto end;
            if (status == PS_OK && n) {
                sum += span[0] + span[n - 1] + 1u;
                mux_span_used(&m, 1 + n / 2);
            } else if (status == PS_OK) {
                sum++;
                buf_consume(&m.stage, buf_used(&m.stage));
            }
            if (status == PS_AGAIN) break;
        }
    }
end:
    mux_in_free(&m);
    ps_ctx_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    u8 head[3];
    fuzz_take(&data, &size, head, sizeof head);
    if (head[0] & 1) stream(data, size, head[1] ? head[1] : size + 1);
    else numbers(data, size, 30 + head[2] % 3);
    return 0;
}
