# IN   the image of each field
# OUT  fields/{field}/  dapi.zarr.zip, qc.json, nuclei.tif, overlay.png, measurements.parquet


rule preprocess:
    """Remove the background of a field and judge its quality."""
    input:
        image=lambda wildcards: RUN.present_images(wildcards.field),
    output:
        dapi=out("fields/{field}/dapi.zarr.zip"),
        qc=out("fields/{field}/qc.json"),
    log:
        out("logs/preprocess/{field}.log"),
    benchmark:
        out("benchmarks/preprocess/{field}.tsv")
    conda:
        "../../envs/preprocess.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=60,
    params:
        code=code("preprocess"),
        script=script("preprocess"),
        image=sheet("image"),
        channels=RUN.channel_flags(),
        pixel_size=sheet("pixel_size_um", "--pixel-size"),
        projection=config["projection"],
        on_bad_field=config["on_bad_field"],
    shell:
        "python {params.script} --image {params.image:q} {params.channels:q} {params.pixel_size:q}"
        " --projection {params.projection} --on-bad-field {params.on_bad_field}"
        " --dapi {output.dapi:q} --qc {output.qc:q} > {log:q} 2>&1"


rule segment:
    """Segment the nuclei of a field, or take over those that the sheet gives."""
    input:
        dapi=out("fields/{field}/dapi.zarr.zip"),
        qc=out("fields/{field}/qc.json"),
        given=lambda wildcards: RUN.present_file(wildcards.field, "nuclei"),
        weights=lambda wildcards: (
            [] if RUN.fields[wildcards.field]["nuclei"] else segmenter_weights()
        ),
    output:
        nuclei=out("fields/{field}/nuclei.tif"),
        overlay=out("fields/{field}/overlay.png"),
    log:
        out("logs/segment/{field}.log"),
    benchmark:
        out("benchmarks/segment/{field}.tsv")
    conda:
        "../../envs/segment.yaml"
    threads: config["threads"]
    resources:
        **gpu_tag(),
        mem_mb=mem_mb,
        runtime=120,
    params:
        code=code("segment"),
        script=script("segment"),
        given=sheet("nuclei", "--given"),
        options=options("segmenter", "method", "coarse"),
        weights=lambda wildcards, input: (
            ["--weights", input.weights] if input.weights else []
        ),
        device=config["device"],
        # not {threads}, which --cores may lower: the result's last digits depend on it
        threads=config["threads"],
    shell:
        "python {params.script} --dapi {input.dapi:q} --qc {input.qc:q} {params.options}"
        " {params.weights:q} {params.given:q} --device {params.device} --threads {params.threads}"
        " --nuclei {output.nuclei:q} --overlay {output.overlay:q} > {log:q} 2>&1"


rule measure:
    """Measure every nucleus of a field."""
    input:
        dapi=out("fields/{field}/dapi.zarr.zip"),
        qc=out("fields/{field}/qc.json"),
        nuclei=out("fields/{field}/nuclei.tif"),
    output:
        measurements=out("fields/{field}/measurements.parquet"),
    log:
        out("logs/measure/{field}.log"),
    benchmark:
        out("benchmarks/measure/{field}.tsv")
    conda:
        "../../envs/measure.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=60,
    params:
        code=code("measure"),
        script=script("measure"),
    shell:
        "python {params.script} --dapi {input.dapi:q} --qc {input.qc:q} --nuclei {input.nuclei:q}"
        " --measurements {output.measurements:q} > {log:q} 2>&1"
