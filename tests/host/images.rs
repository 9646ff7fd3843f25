//! Looking at images, at whether somebody writes them, and changing their headers.

use knib::host::Host;
use knib::model::bytes::Bytes;
use knib::model::fault::Fault;
use knib::model::machine::Format;
use knib::model::step::Image;

use crate::host::lab::*;

#[tokio::test]
async fn layers_are_what_the_headers_say() {
    let lab = Lab::new();
    let raw = lab.image("base.raw", "raw", 2 * MIB);
    let middle = lab.overlay("middle", &raw);
    qemu_img(&["resize", "-q", middle.path.as_str(), "3M"]);
    qemu_io(&middle, &["write 0 1M"]);
    qemu_img(&["snapshot", "-c", "one", middle.path.as_str()]);
    qemu_img(&[
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "qcow2",
        "-b",
        "middle",
        "-o",
        "compression_type=zstd",
        &lab.at("top"),
    ]);
    let layers = host()
        .await
        .layers(&qcow2(&lab.path("top")))
        .await
        .expect("read");
    let shown: Vec<_> = layers
        .iter()
        .map(|layer| {
            let name = layer.path.file_name().expect("a file");
            (
                name,
                layer.format.as_str(),
                layer.virtual_size.0,
                layer.internal_snapshots,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("top", "qcow2", 3 * MIB, 0),
            ("middle", "qcow2", 3 * MIB, 1),
            ("base.raw", "raw", 2 * MIB, 0),
        ]
    );
    let compression: Vec<_> = layers
        .iter()
        .map(|layer| layer.compression.as_deref())
        .collect();
    assert_eq!(compression, [Some("zstd"), Some("zlib"), None]);
    assert!(layers[1].allocated >= Bytes(MIB) && layers[0].allocated < Bytes(MIB));
    assert!(
        layers
            .iter()
            .all(|layer| !layer.encrypted && !layer.data_file)
    );
    assert!(layers.iter().all(|layer| layer.path.is_absolute()));
}

#[tokio::test]
async fn what_knib_cannot_capture_is_told() {
    let lab = Lab::new();
    let secret = "secret,id=s,data=x";
    let encrypted = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10";
    let luks = lab.at("luks");
    let create = ["create", "-q", "--object", secret, "-f", "qcow2", "-o"];
    let create = [&create[..], &[encrypted, &luks, "1M"]].concat();
    // It measures how fast this machine is, and gives up where others keep that busy.
    wait_for("an encrypted image", || attempt("qemu-img", &create).ok());
    qemu_img(&[
        "create",
        "-q",
        "-f",
        "qcow2",
        "-o",
        &format!("data_file={}", lab.at("data")),
        &lab.at("split"),
        "1M",
    ]);
    let host = host().await;
    assert!(host.layers(&qcow2(&lab.path("luks"))).await.expect("read")[0].encrypted);
    assert!(host.layers(&qcow2(&lab.path("split"))).await.expect("read")[0].data_file);
}

#[tokio::test]
async fn a_missing_backing_file_is_named() {
    let lab = Lab::new();
    let base = lab.image("base", "qcow2", MIB);
    let top = lab.overlay("top", &base);
    std::fs::remove_file(&base.path).expect("removed");
    let host = host().await;
    let error = host.layers(&top).await.expect_err("a file is missing");
    assert_eq!(error.fault, Fault::Gone);
    assert!(error.cause.contains(base.path.as_str()), "{error}");
    assert_eq!(
        host.layers(&base).await.expect_err("it is missing").fault,
        Fault::Gone
    );
}

#[tokio::test]
async fn a_format_is_never_guessed() {
    let lab = Lab::new();
    // A guest wrote a header into its raw disk.
    let raw = lab.image("disk.raw", "qcow2", MIB);
    let raw = Image {
        format: Format::Raw,
        ..raw
    };
    let host = host().await;
    let layers = host.layers(&raw).await.expect("read");
    assert_eq!((layers.len(), &layers[0].format), (1, &Format::Raw));
    assert!(layers[0].virtual_size.0 < MIB, "what the header claims");

    // A header that names a backing file without its format, as old programs wrote it.
    let top = lab.overlay("top", &raw);
    let mut bytes = std::fs::read(&top.path).expect("there");
    let extension = bytes.windows(4).position(|at| at == b"\xe2\x79\x2a\xca");
    bytes[extension.expect("the format of the backing file")] = 0;
    std::fs::write(&top.path, bytes).expect("written");
    let error = host
        .layers(&top)
        .await
        .expect_err("the format would be guessed");
    assert_eq!(error.fault, Fault::Unsupported, "{error}");
    assert!(error.hint.expect("a hint").contains("qemu-img rebase -u"));
}

#[tokio::test]
async fn a_relative_path_is_refused() {
    let host = host().await;
    for path in ["disk", "-U", "json:{}", "nbd:localhost:1"] {
        let error = host
            .layers(&qcow2(path.into()))
            .await
            .expect_err("not absolute");
        assert_eq!(error.fault, Fault::Conflict, "{path}");
    }
}

#[tokio::test]
async fn an_image_in_use_is_not_idle() {
    let lab = Lab::new();
    let base = lab.image("base", "qcow2", MIB);
    let top = lab.overlay("top", &base);
    let vm = lab.vm(&[("vda", &top)]);
    let host = host().await;
    host.idle(&top).await.expect("nobody has it");
    vm.start();
    let error = host.idle(&top).await.expect_err("the VM writes it");
    assert_eq!(error.fault, Fault::Busy, "{error}");
    host.idle(&base).await.expect("the VM only reads it");
    host.layers(&top).await.expect("looking is no use");
    vm.stop();
    host.idle(&top).await.expect("nobody has it");
}

#[tokio::test]
async fn a_rebase_changes_the_header_alone() {
    let lab = Lab::new();
    let (old, new) = (
        lab.image("old", "qcow2", MIB),
        lab.image("new, \"b\"", "raw", MIB),
    );
    for image in [&old, &new] {
        qemu_io(image, &["write -P 1 0 1M"]);
    }
    let top = lab.overlay("top", &old);
    qemu_io(&top, &["write -P 2 0 64k"]);
    let truth = Truth::new(&lab, MIB);
    truth.write(1, 0, MIB);
    truth.write(2, 0, 64 * KIB);
    let host = host().await;
    host.rebase(&top, &new).await.expect("rebased");
    std::fs::remove_file(&old.path).expect("removed");
    truth.is(&top);
    let layers = host.layers(&top).await.expect("read");
    assert_eq!(
        (&layers[1].path, &layers[1].format),
        (&new.path, &Format::Raw)
    );
}
