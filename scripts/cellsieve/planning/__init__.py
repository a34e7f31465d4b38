"""What a run is to do: configuration and sheet, read and checked."""
