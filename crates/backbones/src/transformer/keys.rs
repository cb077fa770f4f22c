//! Keys and values of prompts, packed for the products of decoding: made once a request, read by
//! all its beams in every step.

use sidereal_nn::kernels::gemm::{Mat, Packed, pack, packed_len};
use sidereal_nn::kernels::math::size;
use std::ops::Range;

/// Request by request, layer by layer, head by head: keys `width x len`, then values `len x width`.
#[derive(Default)]
pub(crate) struct Keys {
    heads: usize,
    width: usize,
    lens: Vec<usize>,
    /// First value of each request, and the end.
    starts: Vec<usize>,
    layers: usize,
    data: Vec<f32>,
}

/// Keys and values of one head.
pub(crate) struct HeadKeys<'a> {
    pub(crate) keys: Packed<'a>,
    pub(crate) values: Packed<'a>,
}

/// Values that a layer of a request takes.
fn layer_len(heads: usize, width: usize, len: usize) -> usize {
    heads * (packed_len(width, len) + packed_len(len, width))
}

impl Keys {
    /// Makes room for requests of these lengths.
    pub(crate) fn shape(
        &mut self,
        layers: usize,
        heads: usize,
        width: usize,
        lens: impl Iterator<Item = usize>,
    ) {
        (self.layers, self.heads, self.width) = (layers, heads, width);
        self.lens.clear();
        self.lens.extend(lens);
        self.starts.clear();
        let mut end = 0;
        self.starts.push(0);
        for &len in &self.lens {
            end += layers * layer_len(heads, width, len);
            self.starts.push(end);
        }
        size(&mut self.data, end);
    }

    /// Rows of a request's prompt.
    pub(crate) fn len(&self, request: usize) -> usize {
        self.lens[request]
    }

    pub(crate) fn requests(&self) -> usize {
        self.lens.len()
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.data.capacity() * 4
    }

    pub(crate) fn head(&self, request: usize, layer: usize, head: usize) -> HeadKeys<'_> {
        let (len, width) = (self.lens[request], self.width);
        let one = layer_len(1, width, len);
        let at = self.starts[request] + (layer * self.heads + head) * one;
        let (keys, values) = self.data[at..at + one].split_at(packed_len(width, len));
        HeadKeys {
            keys: Packed { k: width, n: len, data: keys },
            values: Packed { k: len, n: width, data: values },
        }
    }

    /// The rows of `requests` of all layers, writable, with what [`Filler::fill`] needs.
    pub(crate) fn split(&mut self, groups: &[Range<usize>]) -> Vec<Filler<'_>> {
        let mut rest = &mut self.data[..];
        let mut fillers = Vec::with_capacity(groups.len());
        for requests in groups {
            let len = self.starts[requests.end] - self.starts[requests.start];
            let (part, after) = std::mem::take(&mut rest).split_at_mut(len);
            rest = after;
            fillers.push(Filler {
                heads: self.heads,
                width: self.width,
                layers: self.layers,
                part,
            });
        }
        fillers
    }
}

/// The place of some requests that follow each other.
pub(crate) struct Filler<'a> {
    heads: usize,
    width: usize,
    layers: usize,
    part: &'a mut [f32],
}

/// The place of one layer of one request.
pub(crate) struct Layer<'a> {
    /// Which request of the filler.
    pub(crate) request: usize,
    pub(crate) layer: usize,
    heads: usize,
    width: usize,
    part: &'a mut [f32],
}

impl Filler<'_> {
    /// Every layer of every request; the requests have these lengths.
    pub(crate) fn layers<'b>(&'b mut self, lens: &[usize]) -> Vec<Layer<'b>> {
        let mut rest = &mut self.part[..];
        let mut out = Vec::with_capacity(lens.len() * self.layers);
        for (request, &len) in lens.iter().enumerate() {
            for layer in 0..self.layers {
                let n = layer_len(self.heads, self.width, len);
                let (part, after) = std::mem::take(&mut rest).split_at_mut(n);
                rest = after;
                let (heads, width) = (self.heads, self.width);
                out.push(Layer { request, layer, heads, width, part });
            }
        }
        out
    }
}

impl Layer<'_> {
    /// Packs rows `[keys of all heads, values of all heads]`.
    pub(crate) fn fill(&mut self, kv: &[f32], len: usize) {
        let (inner, width) = (self.heads * self.width, self.width);
        if len == 0 {
            return;
        }
        let heads = self.part.chunks_exact_mut(layer_len(1, width, len));
        for (h, part) in heads.enumerate() {
            let (keys, values) = part.split_at_mut(packed_len(width, len));
            pack(width, len, Mat::rows(&kv[h * width..], 2 * inner).t(), keys);
            pack(len, width, Mat::rows(&kv[inner + h * width..], 2 * inner), values);
        }
    }
}
